/** What code can throw that is hard to speak of: each of them makes a careless report throw in turn. */

const hostile = (name: 'message' | 'stack' | 'name'): Error =>
  Object.defineProperty(new Error('on purpose'), name, {
    get: () => {
      throw new Error('and again');
    },
  });

/** Makers of such values, by what they make. */
export const UNTELLABLE: Readonly<Record<string, () => unknown>> = {
  'an object without a prototype': () => Object.create(null),
  'a symbol': () => Symbol('on purpose'),
  'an object whose text throws': () => ({ toString: () => JSON.parse('on purpose') }),
  'an object whose text is none': () => ({ toString: () => ({}) }),
  'an error whose message is a symbol': () => Object.assign(new Error(), { message: Symbol('on purpose') }),
  'an error whose message throws': () => hostile('message'),
  'an error whose stack throws': () => hostile('stack'),
  'an error whose name throws': () => hostile('name'),
  'an error without a prototype': () => Object.setPrototypeOf(new Error('on purpose'), null),
  'a proxy that is revoked': () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  },
};
