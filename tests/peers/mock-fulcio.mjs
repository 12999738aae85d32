// A certificate authority of another make: the Fulcio mock of the npm package
// @sigstore/mock, behind a loopback HTTP server.
//
//   node mock-fulcio.mjs MODULES OUT
//
// MODULES holds node_modules. OUT becomes a JSON file with the server's `url`,
// the `certificateAuthorities` and `ctlogs` members of a trusted_root.json, and
// a `token`: an unsigned-by-anyone-we-trust identity token for the subject that
// the mock will certify (it decodes tokens and does not verify them; it puts
// the subject into an URI name). The file appears by a rename, when the server
// already listens. The server ends with its standard input.
//
// package.json holds pkijs at 3.2.5: with a newer one the mock leaves the
// signature of its SCTs empty.
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const [modules, out] = process.argv.slice(2);
const require = createRequire(join(modules, 'package.json'));
const { fulcioHandler, initializeCA, initializeCTLog } = require('@sigstore/mock');

const ecKey = () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const ctLog = await initializeCTLog(ecKey());
const ca = await initializeCA(ecKey(), ctLog);
const { path, fn } = fulcioHandler(ca);

const limit = 64 * 1024;
const server = createServer((request, response) => {
  const answer = (status, type, body) => {
    response.writeHead(status, { 'content-type': type });
    response.end(body);
  };
  if (request.method !== 'POST' || request.url !== path) {
    return answer(404, 'application/json', '{"code":5,"message":"Not Found","details":[]}');
  }
  const chunks = [];
  let size = 0;
  request.on('data', (chunk) => {
    size += chunk.length;
    if (size > limit) request.destroy();
    else chunks.push(chunk);
  });
  request.on('end', async () => {
    const body = JSON.parse(Buffer.concat(chunks).toString());
    // The mock reads the token out of the body only, and a CSR as PEM text;
    // the real one also reads the header, and has base64 around the PEM.
    const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? '');
    if (!body.credentials && bearer) body.credentials = { oidcIdentityToken: bearer[1] };
    if (body.certificateSigningRequest) {
      body.certificateSigningRequest = Buffer.from(
        body.certificateSigningRequest, 'base64').toString();
    }
    const result = await fn(JSON.stringify(body));
    // It answers 201; the real one answers 200 on this path.
    answer(result.statusCode === 201 ? 200 : result.statusCode,
      result.contentType ?? 'text/plain', result.response);
  });
});
server.requestTimeout = 10_000;

server.listen(0, '127.0.0.1', () => {
  const url = `http://127.0.0.1:${server.address().port}`;
  const day = 24 * 3600 * 1000;
  const validFor = { start: new Date(Date.now() - day).toISOString() };
  const now = Math.floor(Date.now() / 1000);
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${encode({ alg: 'ES256', typ: 'JWT' })}.${encode({
    iss: 'https://issuer.mock.test',
    aud: 'sigstore',
    sub: 'https://builder.mock.test/workflow',
    iat: now,
    exp: now + 600,
  })}`;
  const signature = sign('sha256', Buffer.from(signed), {
    key: ecKey().privateKey,
    dsaEncoding: 'ieee-p1363',
  });
  const answer = {
    url,
    token: `${signed}.${signature.toString('base64url')}`,
    certificateAuthorities: [{
      subject: { organization: 'sigstore.mock', commonName: 'sigstore' },
      uri: url,
      certChain: { certificates: [{ rawBytes: ca.rootCertificate.toString('base64') }] },
      validFor,
    }],
    ctlogs: [{
      baseUrl: `${url}/ct`,
      hashAlgorithm: 'SHA2_256',
      publicKey: {
        rawBytes: ctLog.publicKey.toString('base64'),
        keyDetails: 'PKIX_ECDSA_P256_SHA_256',
        validFor,
      },
      logId: { keyId: createHash('sha256').update(ctLog.publicKey).digest('base64') },
    }],
  };
  writeFileSync(`${out}.new`, JSON.stringify(answer));
  renameSync(`${out}.new`, out);
});
process.stdin.on('end', () => process.exit(0));
process.stdin.resume();
