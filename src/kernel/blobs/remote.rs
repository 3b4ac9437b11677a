//! Blobs in an S3 store of somebody else's, such as MinIO: reached by its URL, with keys from the
//! settings or the environment, with limits on time, and tried again for a while before it is said to be
//! away.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::{Blobs, failed};
use crate::kernel::config::Secret;
use crate::kernel::error::{Error, Kind, Result};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);
/// For how long a request is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// Where the store is, and as whom it is asked.
#[derive(Debug, Clone)]
pub struct S3Place {
    /// `s3://bucket` or `s3://bucket/prefix`.
    pub url: String,
    /// Its address, such as `http://127.0.0.1:9000`; Amazon's where there is none.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// The access key; `AWS_ACCESS_KEY_ID` where there is none.
    pub access_key: Option<String>,
    /// The secret key; `AWS_SECRET_ACCESS_KEY` where there is none.
    pub secret_key: Option<Secret>,
    /// How long one request may take, with all its bytes.
    pub timeout: Duration,
}

impl Blobs {
    /// Blobs in an S3 store.
    pub fn s3(place: &S3Place) -> Result<Self> {
        let (_, prefix) = place.bucket_and_prefix()?;
        let store = place.open()?;
        let store: Arc<dyn ObjectStore> = match prefix {
            "" => Arc::new(store),
            prefix => Arc::new(PrefixStore::new(store, prefix)),
        };
        Ok(Self { is_remote: true, ..Self::over(store) })
    }
}

impl S3Place {
    /// The bucket, and what stands before every name in it.
    pub fn bucket_and_prefix(&self) -> Result<(&str, &str)> {
        let rest = self.url.strip_prefix("s3://").unwrap_or_default();
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(wrong(format!("`{}` is no S3 store: write s3://bucket/prefix", self.url)));
        }
        Ok((bucket, prefix.trim_matches('/')))
    }

    /// The bucket as a store of objects.
    pub fn open(&self) -> Result<object_store::aws::AmazonS3> {
        // Whichever came first is as good: all use the same.
        let _already = rustls::crypto::ring::default_provider().install_default();
        let (bucket, _) = self.bucket_and_prefix()?;
        let from_env = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let secret = self.secret_key.as_ref().map(|secret| secret.expose().to_owned());
        let access_key = self.access_key.clone().or_else(|| from_env("AWS_ACCESS_KEY_ID"));
        let secret_key = secret.or_else(|| from_env("AWS_SECRET_ACCESS_KEY"));
        let (Some(access_key), Some(secret_key)) = (access_key, secret_key) else {
            return Err(wrong(format!(
                "{} needs a pair of keys: set them beside it, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                self.url
            )));
        };
        let options = ClientOptions::new()
            .with_allow_http(true)
            .with_connect_timeout(CONNECT)
            .with_timeout(self.timeout);
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(200),
                max_backoff: Duration::from_secs(2),
                base: 2.0,
            },
            max_retries: 20,
            retry_timeout: AGAIN,
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(&self.region)
            .with_access_key_id(access_key)
            .with_secret_access_key(secret_key)
            .with_client_options(options)
            .with_retry(retry);
        if let Some(token) = from_env("AWS_SESSION_TOKEN") {
            builder = builder.with_token(token);
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint).with_virtual_hosted_style_request(false);
        }
        builder.build().map_err(|source| failed("open the S3 store", source))
    }
}

fn wrong(detail: String) -> Error {
    Error::new(Kind::Config, "bad_s3_store", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> S3Place {
        S3Place {
            url: url.to_owned(),
            endpoint: Some("http://127.0.0.1:1".to_owned()),
            region: "us-east-1".to_owned(),
            access_key: Some("a".to_owned()),
            secret_key: Some(Secret::new("b")),
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_url_names_a_bucket_and_what_stands_before_names() {
        for (url, bucket, prefix) in [
            ("s3://drip", "drip", ""),
            ("s3://drip/", "drip", ""),
            ("s3://drip/a/b", "drip", "a/b"),
            ("s3://drip/a/b/", "drip", "a/b"),
        ] {
            assert_eq!(place(url).bucket_and_prefix().unwrap(), (bucket, prefix), "{url}");
            assert!(Blobs::s3(&place(url)).is_ok());
        }
        for url in ["drip", "http://drip", "s3://", "s3:///a"] {
            assert_eq!(Blobs::s3(&place(url)).unwrap_err().code(), "bad_s3_store", "{url}");
        }
    }
}
