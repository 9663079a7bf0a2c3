/** From the options about paths and what is spoken there to the engine's endpoints. Owns their rules, and no other option. */

import type { NativeEndpoint } from '../native/index.js';
import { refuseForeign } from './foreign.js';
import type { OptionReader } from './reader.js';
import { suggestOption } from './suggest.js';

/** What an endpoint speaks. */
type Speech = Omit<NativeEndpoint, 'path'>;

/**
 * One endpoint for each path that upgrades; one without a path serves all.
 *
 * @throws WSEConfigError with the `path` of the option that is wrong.
 */
export function readEndpoints(reader: OptionReader): NativeEndpoint[] {
  const path = reader.textOrNull('path');
  if (path !== null) checkPath(reader, 'path', path);
  const speech = readSpeech(reader, { protocol: 'wse', protocols: [], requireProtocol: false });
  const paths = reader.groupOrNull('paths');
  if (paths === null) return [{ path, ...speech }];

  if (path !== null) reader.fail('paths', 'stands instead of path: give one of them');
  const names = paths.names();
  if (names.length === 0) reader.fail('paths', 'must name at least one path; leave it out to serve any');
  return names.map((name) => {
    checkPath(paths, name, name);
    const own = paths.group(name);
    refuseForeign(own, 'server');
    const endpoint = { path: name, ...readSpeech(own, speech) };
    own.done(suggestOption);
    return endpoint;
  });
}

/** @throws WSEConfigError for what can be the path of no request. */
export function checkPath(reader: OptionReader, name: string, path: string): void {
  if (path.includes('*')) {
    reader.fail(name, `is compared as it is written, and * stands for nothing: '${path}' would match no request of any client`);
  }
  if (!/^\/[^?#\s]*$/.test(path)) reader.fail(name, `must start with / and have no query, not '${path}'`);
}

/** The members about speech, each by itself the server's where a path says nothing. */
function readSpeech(reader: OptionReader, inherited: Speech): Speech {
  const given = reader.textsOrNull('protocols');
  const protocols = reader.has('protocols') ? (given ?? []) : inherited.protocols;
  protocols.forEach((name, index) => {
    // RFC 6455 §4.1: a token of HTTP (RFC 9110 §5.6.2).
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) {
      reader.fail(`protocols[${index}]`, `must be a token such as chat.v1, not '${name}'`);
    }
    if (protocols.indexOf(name) !== index) reader.fail(`protocols[${index}]`, `'${name}' is there already`);
  });
  const requireProtocol = reader.boolean('requireProtocol', inherited.requireProtocol);
  if (requireProtocol && protocols.length === 0) reader.fail('requireProtocol', 'needs protocols to choose among');
  return { protocol: reader.oneOf('protocol', ['wse', 'raw'], inherited.protocol), protocols, requireProtocol };
}
