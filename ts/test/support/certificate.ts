/** A self-signed certificate for `localhost` and 127.0.0.1, made anew for each run: no key lies in the repository. */

import { generate } from 'selfsigned';

export interface Certificate {
  cert: string;
  key: string;
}

/** PEM certificate and PKCS #8 key (P-256), valid for a day around now. */
export async function selfSigned(): Promise<Certificate> {
  const day = 24 * 3600 * 1000;
  const made = await generate([{ name: 'commonName', value: 'localhost' }], {
    keyType: 'ec',
    curve: 'P-256',
    algorithm: 'sha256',
    notBeforeDate: new Date(Date.now() - day),
    notAfterDate: new Date(Date.now() + day),
    extensions: [
      {
        name: 'subjectAltName',
        altNames: [
          { type: 2, value: 'localhost' },
          { type: 7, ip: '127.0.0.1' },
        ],
      },
    ],
  });
  return { cert: made.cert, key: made.private };
}
