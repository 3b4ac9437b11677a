//! Signatures: whoever shares the secret can tell that a message is ours and when it was sent.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::kernel::clock::Time;
use crate::kernel::config::Secret;
use crate::kernel::error::{Error, Result};
use crate::kernel::name::hex;

/// What the signature header says: `t=<unix>,v1=<hex hmac-sha256 of "<t>.<body>">`. The time is
/// signed with the body, so that a message that was overheard cannot be sent again much later.
pub fn signature(secret: &Secret, at: Time, body: &[u8]) -> Result<String> {
    let seconds = at.0.div_euclid(1_000_000);
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
        .map_err(|source| Error::internal(format!("the secret of a signature: {source}")))?;
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    Ok(format!("t={seconds},v1={}", hex(&mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_another_program_computes() {
        // python3: hmac.new(b"whsec", b"1700000000." + body, "sha256").hexdigest()
        let signed = signature(&Secret::new("whsec"), Time(1_700_000_000_999_999), BODY).unwrap();
        assert_eq!(signed, format!("t=1700000000,v1={KNOWN}"));
        let other = signature(&Secret::new("whsec"), Time(1_700_000_001_000_000), BODY).unwrap();
        assert!(other.starts_with("t=1700000001,v1=") && !other.ends_with(KNOWN));
        let other = signature(&Secret::new("other"), Time(1_700_000_000_000_000), BODY).unwrap();
        assert!(!other.ends_with(KNOWN));
    }

    const BODY: &[u8] = r#"{"number":1,"event":"card.saved"}"#.as_bytes();
    const KNOWN: &str = "1ef713e7219d1b88233d11581263977fa2c81776c4759757ca1b71fb5e8b4ec3";
}
