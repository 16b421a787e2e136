import { type CloudReply, type CloudRequest, CloudStandIn, json, Slow } from './cloud-stand-in.js';

export const IM_AUTHORIZATION = [
  '# the service itself, and a cloud',
  'id = im; type = InfrastructureManager; username = berth; password = secret',
  'id = ost; type = OpenStack; host = https://cloud.example.org:5000; username = berth; password = other; tenant = hospital',
  '',
].join('\n');
const HEADER = IM_AUTHORIZATION.split('\n').slice(1, 3).join('\\n');

interface Infrastructure {
  readonly id: string;
  radl: string;
  /** Undefined: it has no machine. */
  machine: Slow | undefined;
  state: string;
}

/** The Infrastructure Manager's REST interface, with infrastructures in memory. */
export class ImStandIn extends CloudStandIn {
  readonly infrastructures = new Map<string, Infrastructure>();
  #count = 0;

  override operationOf({ method, path }: CloudRequest): string {
    const [, , id, verb] = path.split('/');
    return `${method} ${verb ?? (id === undefined ? 'infrastructures' : 'infrastructure')}`;
  }

  override answer(request: CloudRequest): CloudReply {
    if (request.headers.authorization !== HEADER) return imRefusal(401, 'Invalid InfManager credentials');
    const [, root, id, verb] = request.path.split('/');
    if (root !== 'infrastructures') return imRefusal(404, 'Not found');
    if (id === undefined) return request.method === 'GET' ? this.#list() : this.#make(request);
    const found = this.infrastructures.get(id);
    if (found === undefined) return imRefusal(404, 'Error: Invalid infrastructure ID or access not granted.');
    return this.#one(found, `${request.method} ${verb ?? ''}`, request.body);
  }

  #list(): CloudReply {
    const uris = [...this.infrastructures.keys()].map((id) => ({ uri: `${this.url}/infrastructures/${id}` }));
    return json(200, { 'uri-list': uris });
  }

  #make({ body, headers }: CloudRequest): CloudReply {
    if (headers['content-type'] !== 'text/plain') return imRefusal(415, 'Unsupported Media Type');
    if (!/^network net \(.*\)\n\nsystem node \(\n( {2}.+ and\n)+ {2}.+\n\)\n$/.test(body)) {
      return imRefusal(400, 'Error Creating Inf.: Error parsing RADL');
    }
    this.#count += 1;
    const id = `inf-${this.#count}`;
    this.infrastructures.set(id, { id, radl: body, machine: undefined, state: 'configured' });
    return json(200, { uri: `${this.url}/infrastructures/${id}` });
  }

  #one(found: Infrastructure, order: string, body: string): CloudReply {
    const { id, machine } = found;
    switch (order) {
      case 'GET radl':
        return json(200, { radl: found.radl });
      case 'GET state':
        return this.#state(found);
      case 'POST ':
        return this.#add(found, body);
      case 'PUT stop':
        machine?.move('stopped');
        return { status: 200 };
      case 'PUT start':
        if (machine?.now !== 'stopped') return imRefusal(400, 'Error starting infrastructure: it is not stopped');
        machine.move('pending', 'running');
        return { status: 200 };
      case 'DELETE ':
        this.infrastructures.delete(id);
        return { status: 200 };
      default:
        return imRefusal(404, 'Not found');
    }
  }

  #add(found: Infrastructure, body: string): CloudReply {
    if (!/@begin\n[^@]*@end\n/.test(body) || !/^deploy node 1$/m.test(body)) {
      return imRefusal(400, 'Error Adding resources: Error parsing RADL');
    }
    if (found.machine !== undefined) throw new Error(`${found.id} gets a second machine`);
    found.machine = new Slow('pending', 'configured');
    found.radl += body;
    return json(200, { 'uri-list': [{ uri: `${this.url}/infrastructures/${found.id}/vms/0` }] });
  }

  #state({ machine, state }: Infrastructure): CloudReply {
    const seen = machine?.look();
    return json(200, { state: { state: seen ?? state, vm_states: seen === undefined ? {} : { 0: seen } } });
  }
}

/** An error as the Infrastructure Manager answers it. */
export function imRefusal(code: number, message: string): CloudReply {
  return json(code, { message, code });
}
