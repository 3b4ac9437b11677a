//! Bytes on their way in: the newest in memory, those before in a file without a name. So a slow
//! sender costs little memory and nobody's turn, and a crash leaves nothing behind.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};

use super::error::{Error, Result};
use super::work::off_thread;

/// How much is gathered in memory before it goes to the file.
const GATHERED: usize = 1 << 20;

/// Bytes that are being received.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    file: Option<File>,
    gathered: BytesMut,
    size: u64,
}

impl Spool {
    /// An empty one, whose file lies in `folder` when it needs one.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, file: None, gathered: BytesMut::new(), size: 0 }
    }

    /// How many bytes there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a piece.
    pub async fn write(&mut self, piece: &[u8]) -> Result<()> {
        self.size += piece.len() as u64;
        self.gathered.extend_from_slice(piece);
        if self.gathered.len() < GATHERED {
            return Ok(());
        }
        let (folder, file) = (self.folder.clone(), self.file.take());
        let mut gathered = std::mem::take(&mut self.gathered);
        let write = move || {
            let mut file = match file {
                Some(file) => file,
                None => unnamed(&folder).map_err(|source| failed("open", source))?,
            };
            file.write_all(&gathered).map_err(|source| failed("write", source))?;
            gathered.clear();
            Ok((file, gathered))
        };
        let (file, gathered) = off_thread(write).await?;
        (self.file, self.gathered) = (Some(file), gathered);
        Ok(())
    }

    /// All bytes, in memory. It reads a file: not for async threads.
    pub fn into_bytes(self) -> Result<Bytes> {
        let Some(mut file) = self.file else {
            return Ok(self.gathered.freeze());
        };
        let mut whole = Vec::with_capacity(usize::try_from(self.size).unwrap_or(0));
        file.rewind()
            .and_then(|()| file.read_to_end(&mut whole))
            .map_err(|source| failed("read", source))?;
        whole.extend_from_slice(&self.gathered);
        Ok(whole.into())
    }
}

fn failed(what: &str, source: std::io::Error) -> Error {
    Error::io(format!("{what} the file of what is being received"), source)
}

/// A file that is gone when it is closed, however that comes.
fn unnamed(folder: &Path) -> std::io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    #[cfg(target_os = "linux")]
    {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => return Ok(file.into()),
            // Not every file system can; the next way works on all.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let path = folder.join(format!(".{}.spool", super::name::new_id()));
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)?;
    std::fs::remove_file(&path)?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_received_comes_back_whole_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        for size in [0, 1, GATHERED - 1, GATHERED, 3 * GATHERED + 7] {
            let sent: Vec<u8> = (0..=250).cycle().take(size).collect();
            let mut spool = Spool::new(folder.path().to_owned());
            for piece in sent.chunks(70_001) {
                spool.write(piece).await.unwrap();
            }
            assert_eq!(spool.size(), size as u64);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
            assert_eq!(spool.into_bytes().unwrap(), sent);
        }
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_is_told() {
        let mut spool = Spool::new("/no/such/folder".into());
        spool.write(&[0; 10]).await.unwrap();
        let failed = spool.write(&vec![0; GATHERED]).await.unwrap_err();
        assert_eq!(failed.code(), "io");
    }
}
