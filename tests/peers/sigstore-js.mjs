// Signs a file with the npm package `sigstore`'s own parts against the given
// servers, and verifies the bundle with `@sigstore/verify` under the given
// trusted root.
//
//   node sigstore-js.mjs MODULES TOKEN-FILE TRUSTED-ROOT FULCIO REKOR TSA FILE
//
// TSA may be empty. Prints the identity it verified.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const [modules, tokenFile, trustFile, fulcioBaseURL, rekorBaseURL, tsaBaseURL, file] =
  process.argv.slice(2);
const require = createRequire(join(modules, 'package.json'));
const { FulcioSigner, MessageSignatureBundleBuilder, RekorWitness, TSAWitness } =
  require('@sigstore/sign');
const { TrustedRoot } = require('@sigstore/protobuf-specs');
const { Verifier, toSignedEntity, toTrustMaterial } = require('@sigstore/verify');

const token = readFileSync(tokenFile, 'utf8').trim();
const data = readFileSync(file);
const limits = { timeout: 15_000, retry: 0 };
const witnesses = [new RekorWitness({ rekorBaseURL, ...limits })];
if (tsaBaseURL) witnesses.push(new TSAWitness({ tsaBaseURL, ...limits }));
const bundle = await new MessageSignatureBundleBuilder({
  signer: new FulcioSigner({
    fulcioBaseURL,
    identityProvider: { getToken: async () => token },
    ...limits,
  }),
  witnesses,
}).create({ data });

const trust = toTrustMaterial(TrustedRoot.fromJSON(JSON.parse(readFileSync(trustFile, 'utf8'))));
const verifier = new Verifier(trust, { ctlogThreshold: 1, tlogThreshold: 1 });
const signer = verifier.verify(toSignedEntity(bundle, data));
console.log(signer.identity.subjectAlternativeName);
try {
  verifier.verify(toSignedEntity(bundle, Buffer.concat([data, Buffer.from('!')])));
} catch {
  process.exit(0);
}
console.error('verified a changed file');
process.exit(1);
