import t from 'tap';
import { instanceProviderConformance } from '../conformance/instance-provider.js';
import { CLOUD_BENCHES } from '../kit/cloud-benches.js';

for (const [name, makeBench] of Object.entries(CLOUD_BENCHES)) {
  t.test(`${name} keeps what every maker of machines promises`, async (t) => instanceProviderConformance(t, makeBench));
}
