import { AwsClient } from 'aws4fetch';
import { get, HttpSource } from './http-source.js';
import type { Source } from './transfer.js';

export interface S3Options {
  /** Of the service, with the bucket as the first part of the path; null for Amazon's own. */
  readonly endpoint: string | null;
  readonly region: string;
  readonly credentials: S3Credentials;
}

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

const MAX_TRIES = 6;
const REMEDIES = {
  301: 'the bucket is in another region; its operator sets --s3-region',
  403: "this node's S3 credentials do not permit it",
  404: 'is the bucket and the key right?',
};

/** Objects of an S3 service, read with requests that are signed (Signature Version 4). */
export class S3Access {
  readonly #options: S3Options;
  readonly #signer: AwsClient;

  constructor(options: S3Options) {
    this.#options = options;
    this.#signer = new AwsClient({ ...options.credentials, region: options.region, service: 's3', retries: 0 });
  }

  source(s3Url: string): Source {
    const address = this.#address(s3Url);
    return new HttpSource({
      maxTries: MAX_TRIES,
      ask: async (headers, signal) => {
        const signed = await this.#signer.sign(address, { headers: { ...headers } });
        return get(signed.url, Object.fromEntries(signed.headers), signal);
      },
      remedies: REMEDIES,
    });
  }

  #address(s3Url: string): string {
    const [bucket = '', ...key] = s3Url.slice('s3://'.length).split('/');
    const path = key.map(encodeURIComponent).join('/');
    const { endpoint, region } = this.#options;
    if (endpoint !== null) return `${endpoint.replace(/\/$/, '')}/${bucket}/${path}`;
    return `https://${bucket}.s3.${region}.amazonaws.com/${path}`;
  }
}
