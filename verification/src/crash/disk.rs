//! A small disk of our own, and what fills it.
//!
//! Promises: the disk is unmounted when dropped. Leaves to the caller: the right to mount.

use super::Error;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A tmpfs.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `mib` MiB at `path`, which is made.
    ///
    /// # Errors
    /// [`Error::Setup`] when this user may not.
    pub fn mount(path: &Path, mib: u32) -> Result<Self, Error> {
        std::fs::create_dir_all(path)?;
        let options = format!("size={mib}m");
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(path)
            .output()?;
        if output.status.success() {
            return Ok(Self {
                path: path.to_owned(),
            });
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let _ = std::fs::remove_dir(path);
        Err(Error::Setup(format!(
            "mounting a tmpfs takes root: {}",
            said.trim_end()
        )))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.path).output();
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// A file that takes all the space there is.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
}

impl Ballast {
    /// Fills `disk`, but for `left_bytes`.
    ///
    /// # Errors
    /// [`Error::Setup`] when the file cannot be made.
    pub fn fill(disk: &SmallDisk, left_bytes: u64) -> Result<Self, Error> {
        let path = disk.path().join("ballast");
        let mut file = File::create(&path)?;
        let block = vec![1; 64 * 1024];
        loop {
            match file.write(&block) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error.into()),
            }
        }
        let length = file.metadata()?.len();
        file.set_len(length.saturating_sub(left_bytes))?;
        Ok(Self { path })
    }

    /// Makes space again.
    ///
    /// # Errors
    /// [`Error::Setup`].
    pub fn remove(self) -> Result<(), Error> {
        Ok(std::fs::remove_file(&self.path)?)
    }
}
