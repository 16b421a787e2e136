import { artifactUrl, type StoredOutput } from '../../shared/artifact.js';
import { globMatches, hasWildcard } from '../../shared/glob.js';
import { allocationIdOf } from '../../shared/ids.js';
import { type InputSource, type InputSpec, STAGING_LIMITS } from '../../shared/job-spec/staging-spec.js';
import { relativePathComplaint } from '../../shared/relative-path.js';
import type { InputOrder } from '../../shared/wire/messages.js';
import type { Job, Step } from '../model/job.js';
import type { ClusterView } from '../model/state.js';

type Edge = Extract<InputSource, { kind: 'step' }>;

interface Consumer {
  readonly job: Job;
  readonly step: Step;
  readonly index: number;
}

/** A task's inputs with its data edges followed to the artifacts that the other steps have left. */
export function inputOrders(view: ClusterView, consumer: Consumer): { inputs?: readonly InputOrder[] } {
  const { inputs } = consumer.step.spec;
  if (inputs === undefined) return {};
  const orders = inputs.flatMap((input): InputOrder[] => {
    const { source, ...rest } = input;
    return source.kind === 'step' ? followed(view, consumer, { ...input, source }) : [{ ...rest, source }];
  });
  const limit = STAGING_LIMITS.maxEdgeFiles + STAGING_LIMITS.maxInputs;
  if (orders.length <= limit) return { inputs: orders };
  return { inputs: [fault(`its inputs are ${orders.length} files, the limit is ${limit}; archive them`)] };
}

function followed(view: ClusterView, consumer: Consumer, input: InputSpec & { readonly source: Edge }): InputOrder[] {
  const { source, to, mode, sha256 } = input;
  const found = filesOf(view, consumer, source);
  if (found.length === 0) return [fault(`the step "${source.step}" left no output that matches "${source.path}"`)];
  const isOneFile = found.length === 1 && !hasWildcard(source.path) && found[0]?.file.path === source.path;
  return found.map(({ folder, file }) => {
    const place = isOneFile ? to : [to, ...folder, file.path].join('/');
    const complaint = relativePathComplaint(place);
    if (complaint !== undefined)
      return fault(`the place "${place}" of an output of step "${source.step}" ${complaint}`);
    return {
      source: { kind: 'url', url: artifactUrl(file.sha256) },
      to: place,
      sha256: isOneFile && sha256 !== undefined ? sha256 : file.sha256,
      ...(mode === undefined ? {} : { mode }),
    };
  });
}

interface EdgeFile {
  /** The index of its task, where tasks are told apart by folders. */
  readonly folder: readonly string[];
  readonly file: StoredOutput;
}

function filesOf(view: ClusterView, { job, step, index }: Consumer, { step: name, path, tasks }: Edge): EdgeFile[] {
  const producer = job.steps.get(name);
  if (!producer) return [];
  const isSame = tasks === 'same' || (tasks === undefined && isEqualArray(step, producer));
  const indexes = isSame ? [index] : [...producer.tasks.keys()].sort((left, right) => left - right);
  const hasFolders = !isSame && producer.count > 1;
  const files: EdgeFile[] = [];
  for (const each of indexes) {
    for (const file of outputsOf(view, job, producer, each)) {
      if (!globMatches(path, file.path)) continue;
      files.push({ folder: hasFolders ? [String(each)] : [], file });
      // One more than may be: enough to know that they are too many.
      if (files.length > STAGING_LIMITS.maxEdgeFiles + STAGING_LIMITS.maxInputs) return files;
    }
  }
  return files;
}

function isEqualArray(step: Step, producer: Step): boolean {
  return producer.count > 1 && step.spec.array === producer.spec.array;
}

/** What the attempt that succeeded has left. */
function outputsOf(view: ClusterView, job: Job, step: Step, index: number): readonly StoredOutput[] {
  const phase = step.tasks.get(index)?.phase;
  if (phase?.kind !== 'done') return [];
  const id = allocationIdOf({ jobId: job.id, step: step.name, index, attempt: phase.attempt });
  const ended = view.allocations.get(id)?.phase;
  return ended?.kind === 'ended' ? (ended.staging?.outputs ?? []) : [];
}

function fault(message: string): InputOrder {
  return { source: { kind: 'fault', message }, to: 'inputs' };
}
