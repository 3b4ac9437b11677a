//! Who may: access keys and their secrets, and what each pair allows.

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};

use super::error;
use crate::cask::Cask;
use crate::cask::keys::Signer;
use crate::kernel::access::{Caller, Role};
use crate::kernel::config::Secret;
use crate::kernel::off_thread;

/// A pair of keys from the settings. It may read and write.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret_key: Secret,
}

/// All pairs: the one from the settings, and those that the admin made.
pub(super) struct Keys {
    cask: Cask,
    pair: Option<Pair>,
}

impl Keys {
    pub(super) fn new(cask: Cask, pair: Option<Pair>) -> Self {
        Self { cask, pair }
    }

    async fn signer(&self, access_key: &str) -> S3Result<Signer> {
        if let Some(pair) = self.pair.as_ref().filter(|pair| pair.access_key == access_key) {
            return Ok(Signer { secret: pair.secret_key.clone(), writes: true });
        }
        let (cask, access_key) = (self.cask.clone(), access_key.to_owned());
        let found = off_thread(move || cask.signer(&access_key)).await.map_err(error::shown)?;
        found.ok_or_else(|| s3_error!(InvalidAccessKeyId, "there is no such access key"))
    }
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let signer = self.signer(access_key).await?;
        Ok(SecretKey::from(signer.secret.expose()))
    }
}

#[async_trait::async_trait]
impl S3Access for Keys {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(credentials) = context.credentials() else {
            return Err(s3_error!(AccessDenied, "the request is not signed"));
        };
        let access_key = credentials.access_key.clone();
        let signer = self.signer(&access_key).await?;
        let operation = context.s3_op().name();
        let reads = ["Get", "Head", "List"].iter().any(|verb| operation.starts_with(verb));
        if !reads && !signer.writes {
            return Err(s3_error!(AccessDenied, "this pair of keys may only read"));
        }
        let role = if signer.writes { Role::Publisher } else { Role::Viewer };
        context.extensions_mut().insert(Caller::new(format!("s3:{access_key}"), role));
        Ok(())
    }
}
