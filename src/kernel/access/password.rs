//! Passwords: which are accepted, and how they are kept (argon2id, as a PHC string).

use std::sync::{Condvar, Mutex, PoisonError};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::kernel::error::{Error, Fault, Kind, Result};

/// The shortest password, in characters.
pub(super) const MIN_CHARS: usize = 12;
/// The longest, in bytes: hashing must not be a way to keep the machine busy.
pub(super) const MAX_BYTES: usize = 1024;
/// How many hashes are computed at once: each takes 19 MiB, and a hundred logins must not take two
/// gigabytes.
const AT_ONCE: usize = 2;

/// Long passwords that everyone tries. Shorter ones are refused by their length.
const COMMON: &[&str] = &[
    "123456789012",
    "1234567890123",
    "12345678901234",
    "123456789012345",
    "1234567890123456",
    "password1234",
    "password12345",
    "passwordpassword",
    "password123456",
    "qwertyuiop12",
    "qwertyuiop123",
    "qwertyuiopasdf",
    "qwertyuiop[]",
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "administrator",
    "adminadminadmin",
    "adminadmin123",
    "letmeinletmein",
    "iloveyou1234",
    "changeme1234",
    "changemechangeme",
    "welcome12345",
    "welcomewelcome",
    "minioadmin12",
    "minioadminminioadmin",
    "abcdefghijkl",
    "abcdefghijklm",
    "abc123abc123",
    "asdfghjkl123",
    "zxcvbnm12345",
    "111111111111",
    "000000000000",
    "correcthorsebatterystaple",
];

/// Refuses passwords that are too short, too long, or guessed at once; names every reason.
pub fn check(password: &str, user: &str) -> Result<()> {
    let mut faults = Vec::new();
    let mut fault = |why: &str| faults.push(Fault::new("/password", why));
    if password.chars().count() < MIN_CHARS {
        fault("is shorter than 12 characters");
    }
    if password.len() > MAX_BYTES {
        fault("is longer than 1024 bytes");
    }
    let lower = password.to_lowercase();
    let first = lower.chars().next();
    if COMMON.contains(&lower.as_str()) {
        fault("is one that everyone tries first");
    } else if lower.chars().count() > 1 && lower.chars().all(|c| Some(c) == first) {
        fault("is one character again and again");
    }
    let bare = lower.replace(&user.to_lowercase(), "").replace("drip", "");
    let has_name = bare.len() < lower.len();
    if !user.is_empty() && has_name && bare.chars().count() < MIN_CHARS / 2 {
        fault("is little more than the name of the account or the program");
    }
    if faults.is_empty() {
        return Ok(());
    }
    let why: Vec<_> = faults.iter().map(|fault| fault.detail.as_str()).collect();
    Err(Error::invalid("bad_password", format!("the password {}", why.join(" and ")), faults))
}

/// Hashes and compares passwords, two at a time.
pub(super) struct Hasher {
    argon: Argon2<'static>,
    busy: Mutex<usize>,
    freed: Condvar,
    /// Compared with when there is no such account, so that the answer takes as long.
    dummy: std::sync::OnceLock<String>,
}

impl Hasher {
    /// A hasher with `memory` in KiB, `passes`, and `lanes`. What is weaker than OWASP's least is
    /// refused.
    pub(super) fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self> {
        if memory_kib < 19 * 1024 || passes < 2 {
            return Err(Error::new(
                Kind::Config,
                "weak_hash",
                "access.argon2_memory is at least 19MiB and access.argon2_passes at least 2",
            ));
        }
        let params = Params::new(memory_kib, passes, lanes, None).map_err(|source| {
            Error::new(Kind::Config, "bad_hash", format!("access.argon2_…: {source}"))
        })?;
        Ok(Self {
            argon: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            busy: Mutex::new(0),
            freed: Condvar::new(),
            dummy: std::sync::OnceLock::new(),
        })
    }

    /// The PHC string to keep.
    pub(super) fn hash(&self, password: &str) -> Result<String> {
        self.in_turn(|| {
            self.argon
                .hash_password(password.as_bytes())
                .map(|phc| phc.to_string())
                .map_err(|source| Error::internal(format!("hash a password: {source}")))
        })
    }

    /// Whether `password` is the one that was kept. With no account it takes the same time and says
    /// no.
    pub(super) fn verify(&self, password: &str, kept: Option<&str>) -> Result<bool> {
        if password.len() > MAX_BYTES {
            return Ok(false);
        }
        let phc = match kept {
            Some(phc) => phc,
            None => self.dummy()?,
        };
        self.in_turn(|| {
            let parsed = PasswordHash::new(phc)
                .map_err(|source| Error::internal(format!("a kept password: {source}")))?;
            let same = self.argon.verify_password(password.as_bytes(), &parsed).is_ok();
            Ok(same && kept.is_some())
        })
    }

    /// Whether a kept hash was made with other parameters and should be made anew at sign-in.
    pub(super) fn is_outdated(&self, phc: &str) -> bool {
        let wanted = self.argon.params();
        PasswordHash::new(phc).ok().and_then(|kept| Params::try_from(&kept).ok()).is_none_or(
            |kept| {
                kept.m_cost() != wanted.m_cost()
                    || kept.t_cost() != wanted.t_cost()
                    || kept.p_cost() != wanted.p_cost()
            },
        )
    }

    fn dummy(&self) -> Result<&str> {
        if self.dummy.get().is_none() {
            let phc = self.hash("nobody has this password")?;
            let _other_was_first = self.dummy.set(phc);
        }
        self.dummy.get().map(String::as_str).ok_or_else(|| Error::internal("no dummy hash"))
    }

    fn in_turn<T>(&self, work: impl FnOnce() -> T) -> T {
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let mut busy = self
            .freed
            .wait_while(busy, |busy| *busy >= AT_ONCE)
            .unwrap_or_else(PoisonError::into_inner);
        *busy += 1;
        drop(busy);
        let outcome = work();
        *self.busy.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.freed.notify_one();
        outcome
    }
}

/// A password that nobody knows: 24 letters and digits that are not mistaken for each other.
pub fn random() -> Result<String> {
    const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let bytes = super::random_bytes::<24>()?;
    Ok(bytes
        .iter()
        .filter_map(|byte| LETTERS.get(usize::from(byte % 32)))
        .map(|c| char::from(*c))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_passwords_are_refused_with_reasons() {
        for weak in
            ["", "short", "password1234", "aaaaaaaaaaaa", "ada-ada-ada-drip", &"x".repeat(2000)]
        {
            assert_eq!(check(weak, "ada").unwrap_err().code(), "bad_password", "{weak}");
        }
        for good in ["kites over the ridge", "风电场的密码要足够长才可以", &random().unwrap()]
        {
            assert!(check(good, "ada").is_ok(), "{good}");
        }
    }

    #[test]
    fn a_hash_is_argon2id_and_knows_its_password() {
        let hasher = Hasher::new(19 * 1024, 2, 1).unwrap();
        let phc = hasher.hash("kites over the ridge").unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(hasher.verify("kites over the ridge", Some(&phc)).unwrap());
        assert!(!hasher.verify("another", Some(&phc)).unwrap());
        assert!(!hasher.verify("nobody has this password", None).unwrap());
        assert!(!hasher.is_outdated(&phc));
        assert!(Hasher::new(20 * 1024, 2, 1).unwrap().is_outdated(&phc));
        assert!(Hasher::new(1024, 1, 1).is_err());
    }
}
