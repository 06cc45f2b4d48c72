// Signed tokens (RFC 7515, RFC 7519), taken apart and checked by Node's crypto.
'use strict';

const crypto = require('crypto');

// Octets of a signature by a key's kind. ES256: R and S, 32 octets each (RFC 7518 §3.4).
const KINDS = {
  ES256: { octets: 64, key: (key) => ({ key, dsaEncoding: 'ieee-p1363' }) },
  RS256: { octets: 256, key: (key) => ({ key, padding: crypto.constants.RSA_PKCS1_PADDING }) },
};

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

// base64url without padding, and nothing that a decoder would skip.
function octets(text) {
  const decoded = Buffer.from(text, 'base64url');
  return decoded.toString('base64url') === text ? decoded : null;
}

function json(text) {
  const decoded = octets(text);
  if (!decoded) return null;
  try {
    const value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(decoded));
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

// → { header, claims } or { why }. `iat` is a whole second, not in the future, at most an hour old.
function check(token, { alg, kid, key, now }) {
  const parts = token.split('.');
  if (parts.length !== 3) return { why: `a token of ${parts.length} parts` };
  const [header, claims, signature] = [json(parts[0]), json(parts[1]), octets(parts[2])];
  if (!header || !claims || !signature) return { why: 'a part of the token is not base64url of what it must be' };
  if (header.alg !== alg) return { why: `alg is ${header.alg} and not ${alg}` };
  if (header.kid !== kid) return { why: `kid is ${header.kid} and not ${kid}` };
  if ('typ' in header && header.typ !== 'JWT') return { why: `typ is ${header.typ}` };
  const more = Object.keys(header).filter((name) => !['alg', 'kid', 'typ'].includes(name));
  if (more.length) return { why: `the header has ${more}` };
  const kind = KINDS[alg];
  if (signature.length !== kind.octets) return { why: `the signature has ${signature.length} octets` };
  const signed = Buffer.from(`${parts[0]}.${parts[1]}`, 'ascii');
  if (!crypto.verify('sha256', signed, kind.key(key), signature)) return { why: 'the signature does not verify' };
  if (!Number.isInteger(claims.iat)) return { why: `iat is ${claims.iat}` };
  if (claims.iat > now) return { why: `iat is ${claims.iat - now} s in the future` };
  if (now - claims.iat > 3600) return { why: `iat is ${now - claims.iat} s ago`, old: true };
  return { header, claims };
}

module.exports = { check, isObject };
