//! Secrets that are shown once: API tokens, session ids, and the JWTs that `/api/v1/login` answers.
//! Only their SHA-256 is kept; they have 256 random bits, so a slow hash would add nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::random_bytes;
use crate::kernel::clock::Time;
use crate::kernel::error::{Error, Result};
use crate::kernel::name::{Digest, hex};

/// An API token as it is shown, once.
pub(super) struct PlainToken {
    /// Names the token in lists and in its row.
    pub id: String,
    /// What the client sends.
    pub text: String,
}

impl PlainToken {
    /// A new one: `drip_<id>_<secret>`, easy to find for secret scanners.
    pub(super) fn new() -> Result<Self> {
        let id = hex(&random_bytes::<8>()?);
        let text = format!("drip_{id}_{}", hex(&random_bytes::<32>()?));
        Ok(Self { id, text })
    }

    /// The id inside a token's text, if it has a token's shape.
    pub(super) fn id_of(text: &str) -> Option<&str> {
        let (id, secret) = text.strip_prefix("drip_")?.split_once('_')?;
        let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
        (id.len() == 16 && secret.len() == 64 && is_hex(id) && is_hex(secret)).then_some(id)
    }
}

/// Whether a shown secret is the one whose digest was kept, in constant time.
pub(super) fn is_same(shown: &str, kept: Digest) -> bool {
    use subtle::ConstantTimeEq as _;
    Digest::of(shown.as_bytes()).0.ct_eq(&kept.0).into()
}

/// What a login's JWT says (RFC 7519).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    /// Always `drip`.
    pub iss: String,
    /// The account.
    pub sub: String,
    /// The session: revoking it ends the token at once.
    pub jti: String,
    /// When it was made, in seconds.
    pub iat: i64,
    /// When it ends, in seconds.
    pub exp: i64,
}

/// The one header that is written and accepted. Comparing it whole leaves no algorithm to confuse.
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// Signs claims with HMAC-SHA256 (RFC 7515, HS256) under the server's own key.
pub(super) fn sign(claims: &Claims, key: &[u8; 32]) -> Result<String> {
    let body = serde_json::to_vec(claims)
        .map_err(|source| Error::internal(format!("write claims: {source}")))?;
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(body));
    let tag = mac(key, &signed)?.finalize().into_bytes();
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag)))
}

/// The claims of a JWT that this server signed and that has not ended; none otherwise.
pub(super) fn verify(token: &str, key: &[u8; 32], now: Time) -> Result<Option<Claims>> {
    let Some((signed, tag)) = token.rsplit_once('.') else {
        return Ok(None);
    };
    let Some((header, body)) = signed.split_once('.') else {
        return Ok(None);
    };
    if header != URL_SAFE_NO_PAD.encode(HEADER) {
        return Ok(None);
    }
    let Ok(tag) = URL_SAFE_NO_PAD.decode(tag) else {
        return Ok(None);
    };
    if mac(key, signed)?.verify_slice(&tag).is_err() {
        return Ok(None);
    }
    let claims =
        URL_SAFE_NO_PAD.decode(body).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(claims.filter(|claims: &Claims| claims.iss == "drip" && claims.exp > now.0 / 1_000_000))
}

fn mac(key: &[u8; 32], signed: &str) -> Result<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)
        .map_err(|source| Error::internal(format!("the signing key: {source}")))?;
    mac.update(signed.as_bytes());
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims { iss: "drip".into(), sub: "ada".into(), jti: "1".into(), iat: 0, exp: 100 }
    }

    #[test]
    fn a_token_has_a_shape_and_an_id() {
        let token = PlainToken::new().unwrap();
        assert_eq!(PlainToken::id_of(&token.text), Some(token.id.as_str()));
        for wrong in ["", "drip_", "drip_x_y", "Bearer", "drip_0123456789abcdef_short"] {
            assert_eq!(PlainToken::id_of(wrong), None);
        }
    }

    #[test]
    fn only_what_this_key_signed_and_only_until_its_end() {
        let token = sign(&claims(), &[1; 32]).unwrap();
        let at = |seconds: i64| Time(seconds * 1_000_000);
        assert_eq!(verify(&token, &[1; 32], at(99)).unwrap(), Some(claims()));
        assert_eq!(verify(&token, &[1; 32], at(100)).unwrap(), None);
        assert_eq!(verify(&token, &[2; 32], at(0)).unwrap(), None);
    }

    #[test]
    fn the_classic_forgeries_are_refused() {
        let token = sign(&claims(), &[1; 32]).unwrap();
        let parts: Vec<_> = token.split('.').collect();
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let admin =
            URL_SAFE_NO_PAD.encode(r#"{"iss":"drip","sub":"admin","jti":"1","iat":0,"exp":100}"#);
        for forged in [
            format!("{none}.{}.", parts[1]),
            format!("{none}.{}.{}", parts[1], parts[2]),
            format!("{}.{admin}.{}", parts[0], parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{}.{}", parts[0], parts[1]),
            String::new(),
            "..".into(),
        ] {
            assert_eq!(verify(&forged, &[1; 32], Time(0)).unwrap(), None, "{forged}");
        }
    }
}
