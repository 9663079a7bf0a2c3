/** The version of this package; the addon must have the same. A test compares it with the manifests. */
export const VERSION = '0.1.0';
