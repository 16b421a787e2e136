import { systemClock } from '../../shared/clock.js';
import { silentLog } from '../../shared/log.js';
import type { Channel } from '../../shared/wire/channel.js';
import type { Body, BodyKind } from '../../shared/wire/messages.js';
import { Session } from '../../shared/wire/session.js';

/** One end of the wire, without a program behind it: it says what it is told to, and keeps what it hears. */
export class Peer {
  readonly heard: Body[] = [];
  readonly session: Session;
  closed: { readonly code: number; readonly reason: string } | undefined;

  constructor(channel: Channel, clock = systemClock) {
    this.session = new Session(
      channel,
      {
        message: (body) => void this.heard.push(body),
        closed: (code, reason) => {
          this.closed = { code, reason };
        },
      },
      { clock, log: silentLog },
    );
  }

  say(body: Body): void {
    this.session.send(body);
  }

  last<Kind extends BodyKind>(kind: Kind): Extract<Body, { kind: Kind }> | undefined {
    return this.heard.findLast((body): body is Extract<Body, { kind: Kind }> => body.kind === kind);
  }

  get kinds(): readonly BodyKind[] {
    return this.heard.map((body) => body.kind);
  }
}
