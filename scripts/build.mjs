// npm run build: packages, addon, facade and client, without running anything.

import { failWith } from './lib/run.mjs';
import { ensureBuilt, ensureClient, say } from './lib/steps.mjs';

try {
  const { file } = await ensureBuilt();
  await ensureClient();
  say(`built: dist/, client/dist/ and ${file}`);
} catch (error) {
  failWith(error);
}
