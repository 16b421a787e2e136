import { createHash, createHmac } from 'node:crypto';
import { type CloudReply, type CloudRequest, CloudStandIn, Slow } from './cloud-stand-in.js';

export const EC2_KEYS = { id: 'AKIDEXAMPLE', secret: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' } as const;
export const EC2_REGION = 'eu-west-1';
export const EC2_IMAGE = 'ami-0123456789abcdef0';

interface Instance {
  readonly id: string;
  readonly token: string;
  /** All parameters of its creation but the idempotency token. */
  readonly wish: string;
  readonly tags: ReadonlyMap<string, string>;
  readonly hibernates: boolean;
  readonly userData: string;
  readonly state: Slow;
  hibernated: boolean;
}

type Form = URLSearchParams;

/** Amazon EC2's Query API as its reference has it, with machines in memory. */
export class Ec2StandIn extends CloudStandIn {
  readonly instances: Instance[] = [];
  /** How many instances a page of DescribeInstances has. */
  pageSize = 1_000;
  #count = 0;

  /** Those that exist, whatever their state. */
  get alive(): readonly Instance[] {
    return this.instances.filter(({ state }) => state.now !== 'terminated');
  }

  override operationOf({ body, path }: CloudRequest): string {
    return new URLSearchParams(body).get('Action') ?? path;
  }

  override answer(request: CloudRequest): CloudReply {
    const complaint = signatureComplaint(request);
    if (complaint !== undefined) return refusal('AuthFailure', complaint, 401);
    const form = new URLSearchParams(request.body);
    const action = form.get('Action') ?? '';
    const act = this.#actions[action];
    return act === undefined
      ? refusal('InvalidAction', `The action ${action} is not valid for this web service.`)
      : act(form);
  }

  readonly #actions: Readonly<Record<string, (form: Form) => CloudReply>> = {
    DescribeRegions: () =>
      answer(
        'DescribeRegions',
        `<regionInfo>${item('<regionName>eu-west-1</regionName>')}${item('<regionName>us-east-1</regionName>')}</regionInfo>`,
      ),
    DescribeImages: (form) => imageComplaint(form.get('ImageId.1')) ?? answer('DescribeImages', '<imagesSet/>'),
    DescribeInstanceTypes: (form) =>
      typeComplaint(form.get('InstanceType.1')) ?? answer('DescribeInstanceTypes', '<instanceTypeSet/>'),
    DescribeSubnets: () => answer('DescribeSubnets', '<subnetSet/>'),
    RunInstances: (form) => this.#run(form),
    DescribeInstances: (form) => this.#describe(form),
    StopInstances: (form) => this.#change(form, (instance) => this.#stop(instance, form.get('Hibernate') === 'true')),
    StartInstances: (form) => this.#change(form, start),
    TerminateInstances: (form) => this.#change(form, terminate),
  };

  #run(form: Form): CloudReply {
    const complaint = imageComplaint(form.get('ImageId')) ?? typeComplaint(form.get('InstanceType'));
    if (complaint !== undefined) return complaint;
    if (form.get('DryRun') === 'true')
      return refusal('DryRunOperation', 'Request would have succeeded, but DryRun flag is set.', 412);
    const token = form.get('ClientToken') ?? '';
    const wish = [...form].filter(([name]) => name !== 'ClientToken').join('&');
    const known = this.instances.find((each) => each.token === token);
    if (known !== undefined && known.wish !== wish) {
      return refusal('IdempotentParameterMismatch', 'The client token was used with different parameters.');
    }
    return answer(
      'RunInstances',
      `<instancesSet>${item(describe(known ?? this.#make(form, token, wish)))}</instancesSet>`,
    );
  }

  #make(form: Form, token: string, wish: string): Instance {
    this.#count += 1;
    const instance: Instance = {
      id: `i-${String(this.#count).padStart(17, '0')}`,
      token,
      wish,
      tags: new Map(
        numbered(form, 'TagSpecification.1.Tag').map((at) => [text(form, `${at}.Key`), text(form, `${at}.Value`)]),
      ),
      hibernates: form.get('HibernationOptions.Configured') === 'true',
      userData: Buffer.from(form.get('UserData') ?? '', 'base64').toString(),
      state: new Slow('pending', 'running'),
      hibernated: false,
    };
    this.instances.push(instance);
    return instance;
  }

  #describe(form: Form): CloudReply {
    const wanted = form.get('InstanceId.1');
    if (wanted !== null) {
      const found = this.instances.find(({ id }) => id === wanted);
      return found === undefined ? unknown(wanted) : answer('DescribeInstances', reservation(found));
    }
    const matching = this.instances.filter((instance) => this.#fits(instance, form));
    const from = Number(form.get('NextToken') ?? 0);
    const to = from + Math.min(this.pageSize, Number(form.get('MaxResults') ?? 1_000));
    const next = to < matching.length ? `<nextToken>${to}</nextToken>` : '';
    return answer(
      'DescribeInstances',
      `<reservationSet>${matching.slice(from, to).map(inReservation).join('')}</reservationSet>${next}`,
    );
  }

  #fits(instance: Instance, form: Form): boolean {
    return numbered(form, 'Filter').every((at) => {
      const name = text(form, `${at}.Name`);
      const values = numbered(form, `${at}.Value`).map((each) => text(form, each));
      const has = name.startsWith('tag:') ? instance.tags.get(name.slice('tag:'.length)) : instance.state.now;
      return has !== undefined && values.includes(has);
    });
  }

  #change(form: Form, change: (instance: Instance) => CloudReply | undefined): CloudReply {
    const id = form.get('InstanceId.1') ?? '';
    const instance = this.instances.find((each) => each.id === id);
    if (instance === undefined) return unknown(id);
    return (
      change(instance) ?? answer(form.get('Action') ?? '', `<instancesSet>${item(describe(instance))}</instancesSet>`)
    );
  }

  #stop(instance: Instance, hibernate: boolean): CloudReply | undefined {
    if (hibernate && !instance.hibernates) {
      return refusal('UnsupportedHibernationConfiguration', 'Hibernation is not enabled for this instance.');
    }
    if (!['running', 'stopping', 'stopped'].includes(instance.state.now)) return wrongState(instance);
    if (instance.state.now === 'running') instance.state.move('stopping', 'stopped');
    instance.hibernated = hibernate;
  }
}

function start(instance: Instance): CloudReply | undefined {
  if (!['stopped', 'pending', 'running'].includes(instance.state.now)) return wrongState(instance);
  if (instance.state.now === 'stopped') instance.state.move('pending', 'running');
}

function terminate(instance: Instance): undefined {
  if (instance.state.now !== 'terminated') instance.state.move('shutting-down', 'terminated');
}

function numbered(form: Form, prefix: string): string[] {
  const found: string[] = [];
  const isThere = (at: string): boolean => [...form.keys()].some((key) => key === at || key.startsWith(`${at}.`));
  for (let at = 1; isThere(`${prefix}.${at}`); at += 1) found.push(`${prefix}.${at}`);
  return found;
}

function text(form: Form, name: string): string {
  return form.get(name) ?? '';
}

function describe(instance: Instance): string {
  const tags = [...instance.tags].map(([key, value]) =>
    item(`<key>${escaped(key)}</key><value>${escaped(value)}</value>`),
  );
  return [
    `<instanceId>${instance.id}</instanceId>`,
    `<instanceState><code>0</code><name>${instance.state.look()}</name></instanceState>`,
    `<tagSet>${tags.join('')}</tagSet>`,
    `<hibernationOptions><configured>${instance.hibernates}</configured></hibernationOptions>`,
  ].join('');
}

function inReservation(instance: Instance): string {
  return item(`<reservationId>r-1</reservationId><instancesSet>${item(describe(instance))}</instancesSet>`);
}

function reservation(instance: Instance): string {
  return `<reservationSet>${inReservation(instance)}</reservationSet>`;
}

function item(content: string): string {
  return `<item>${content}</item>`;
}

function escaped(value: string): string {
  return value.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}

function answer(action: string, content: string): CloudReply {
  const root = `<${action}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>59dbff89</requestId>`;
  return { status: 200, body: `<?xml version="1.0" encoding="UTF-8"?>\n${root}${content}</${action}Response>` };
}

/** An error as the Query API answers it. */
export function refusal(code: string, message: string, status = 400): CloudReply {
  const error = `<Errors><Error><Code>${code}</Code><Message>${escaped(message)}</Message></Error></Errors>`;
  return {
    status,
    body: `<?xml version="1.0" encoding="UTF-8"?>\n<Response>${error}<RequestID>ea966190</RequestID></Response>`,
  };
}

function unknown(id: string): CloudReply {
  return refusal('InvalidInstanceID.NotFound', `The instance ID '${id}' does not exist`);
}

function wrongState({ id, state }: Instance): CloudReply {
  return refusal('IncorrectInstanceState', `The instance '${id}' is not in a state (${state.now}) for this.`);
}

function imageComplaint(image: string | null): CloudReply | undefined {
  if (image === EC2_IMAGE) return undefined;
  return refusal('InvalidAMIID.NotFound', `The image id '[${image}]' does not exist`);
}

function typeComplaint(type: string | null): CloudReply | undefined {
  return type === 'm7i.large' ? undefined : refusal('InvalidInstanceType', `Invalid value '${type}' for InstanceType.`);
}

/** Computes the signature anew, as Amazon's description of Signature Version 4 says. */
function signatureComplaint({ method, path, headers, body }: CloudRequest): string | undefined {
  const form =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d+)\/([^/]+)\/ec2\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=(\w+)$/;
  const [, id, day = '', region = '', names = '', signature] = form.exec(headers.authorization ?? '') ?? [];
  if (id !== EC2_KEYS.id) return 'AWS was not able to validate the provided access credentials';
  const lines = names.split(';').map((name) => `${name}:${headers[name]}\n`);
  const canonical = [method, path, '', lines.join(''), names, digest(body)].join('\n');
  const scope = `${day}/${region}/ec2/aws4_request`;
  const toSign = ['AWS4-HMAC-SHA256', headers['x-amz-date'], scope, digest(canonical)].join('\n');
  const key = [day, region, 'ec2', 'aws4_request'].reduce<string | Buffer>(keyed, `AWS4${EC2_KEYS.secret}`);
  if (keyed(key, toSign).toString('hex') !== signature)
    return 'AWS was not able to validate the provided access credentials';
}

function keyed(key: string | Buffer, content: string): Buffer {
  return createHmac('sha256', key).update(content).digest();
}

function digest(content: string): string {
  return createHash('sha256').update(content).digest('hex');
}
