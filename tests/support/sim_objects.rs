#![cfg(test)]
//! An object store on a simulated disk: what `Blobs` stands on when the power may go.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};

use super::sim_disk::SimDisk;

/// What a put has done when it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Puts {
    /// Bytes and name are durable.
    Durable,
    /// Nothing was synced, as `LocalFileSystem` does unless told otherwise.
    Lossy,
}

/// Objects in one folder of a [`SimDisk`]. An object is written to a stage and renamed.
#[derive(Clone)]
pub(crate) struct SimObjects {
    disk: SimDisk,
    folder: &'static str,
    puts: Puts,
    stages: Arc<AtomicU64>,
}

impl SimObjects {
    pub(crate) fn new(disk: &SimDisk, folder: &'static str, puts: Puts) -> Self {
        Self { disk: disk.clone(), folder, puts, stages: Arc::default() }
    }

    fn path(&self, location: &Path) -> String {
        format!("{}/{location}", self.folder)
    }

    fn meta(&self, path: &str) -> ObjectMeta {
        let location = path.strip_prefix(self.folder).unwrap_or(path).trim_start_matches('/');
        ObjectMeta {
            location: Path::from(location),
            last_modified: chrono::DateTime::UNIX_EPOCH,
            size: self.disk.open(path).len() as u64,
            e_tag: None,
            version: None,
        }
    }

    fn write(&self, path: &str, bytes: &[u8]) -> std::io::Result<()> {
        let stage = format!("{path}#{}", self.stages.fetch_add(1, Ordering::SeqCst));
        let file = self.disk.open(&stage);
        file.append(bytes)?;
        if self.puts == Puts::Durable {
            file.sync()?;
        }
        self.disk.rename(&stage, path)?;
        if self.puts == Puts::Durable {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            self.disk.sync_folder(folder)?;
        }
        Ok(())
    }
}

impl fmt::Debug for SimObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimObjects({})", self.folder)
    }
}

impl fmt::Display for SimObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimObjects({})", self.folder)
    }
}

fn failed(source: std::io::Error) -> Error {
    Error::Generic { store: "SimObjects", source: Box::new(source) }
}

fn missing(path: &str) -> Error {
    Error::NotFound { path: path.to_owned(), source: "no such object".into() }
}

fn unsupported(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.to_owned(), implementer: "SimObjects".to_owned() }
}

#[async_trait]
impl ObjectStore for SimObjects {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let path = self.path(location);
        if options.mode == PutMode::Create && self.disk.exists(&path) {
            return Err(Error::AlreadyExists { path, source: "it is there".into() });
        }
        let bytes: bytes::Bytes = payload.into();
        self.write(&path, &bytes).map_err(failed)?;
        Ok(PutResult {
            e_tag: None,
            version: None,
            extensions: object_store::Extensions::default(),
        })
    }

    async fn put_multipart_opts(
        &self,
        _location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(unsupported("put_multipart"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let path = self.path(location);
        if !self.disk.exists(&path) {
            return Err(missing(&path));
        }
        let bytes = bytes::Bytes::from(self.disk.open(&path).read());
        let size = bytes.len() as u64;
        let range = match options.range {
            None => 0..size,
            Some(wanted) => wanted.as_range(size).map_err(|source| Error::Generic {
                store: "SimObjects",
                source: Box::new(source),
            })?,
        };
        let at = |end: u64| usize::try_from(end).unwrap();
        let part = bytes.slice(at(range.start)..at(range.end));
        Ok(GetResult {
            payload: GetResultPayload::Stream(futures::stream::once(async { Ok(part) }).boxed()),
            meta: self.meta(&path),
            range,
            attributes: Attributes::default(),
            extensions: object_store::Extensions::default(),
        })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .map(move |location| {
                let location = location?;
                let path = store.path(&location);
                store.disk.remove(&path).map_err(|_gone| missing(&path))?;
                Ok(location)
            })
            .boxed()
    }

    fn list(&self, _prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let paths = self.disk.list(self.folder);
        let found: Vec<_> = paths
            .iter()
            .filter(|path| !path.contains('#'))
            .map(|path| Ok(self.meta(path)))
            .collect();
        futures::stream::iter(found).boxed()
    }

    async fn list_with_delimiter(&self, _prefix: Option<&Path>) -> Result<ListResult> {
        Err(unsupported("list_with_delimiter"))
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _options: CopyOptions) -> Result<()> {
        Err(unsupported("copy"))
    }
}
