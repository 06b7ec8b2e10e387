//! File systems in files, whose power can be cut.
//!
//! A power cut is a copy of the image of a frozen node: what was written and not synced is in the kernel's memory only, so it
//! is not in the copy. Nothing reaches the image by itself during a run: the file system commits metadata after five minutes
//! instead of five seconds, and a file that is renamed over another is not written for that.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::Result;

use super::command::{output, run, text};

/// Bytes of an image, where nothing else is wanted.
pub const IMAGE_BYTES: u64 = 640 << 20;
const OPTIONS: &str = "loop,discard,commit=300,noauto_da_alloc,noinit_itable,noatime";

/// The place where a node's data is.
#[derive(Debug)]
pub struct Disk {
    images: PathBuf,
    /// Where the node finds it.
    pub mount_point: PathBuf,
    generation: u32,
    /// Whether it is a file system of its own; else a plain directory.
    pub is_image: bool,
    mounted: bool,
}

impl Disk {
    /// Makes it: an image of `bytes` when `image` says so.
    ///
    /// # Errors
    /// The disk's, or what `mkfs.ext4` and `mount` say.
    pub fn create(below: &Path, name: &str, image: bool, bytes: u64) -> Result<Self> {
        let mut disk = Self {
            images: below.join(format!("{name}-images")),
            mount_point: below.join(name),
            generation: 0,
            is_image: image,
            mounted: false,
        };
        fs::create_dir_all(&disk.mount_point)?;
        if image {
            fs::create_dir_all(&disk.images)?;
            File::create(disk.image())?.set_len(bytes)?;
            let make = ["-q", "-F", "-m", "0", "-b", "4096", "-N", "8192", "-E", "nodiscard"];
            let image = disk.image();
            run("mkfs.ext4", &[&make[..], &[text(&image)?]].concat())?;
            disk.mount()?;
        }
        Ok(disk)
    }

    fn image(&self) -> PathBuf {
        self.images.join(format!("disk-{}.img", self.generation))
    }

    fn mount(&mut self) -> Result<()> {
        let image = self.image();
        let (image, at) = (text(&image)?, text(&self.mount_point)?);
        run("mount", &["-t", "ext4", "-o", OPTIONS, image, at])?;
        self.mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> Result<()> {
        if !self.mounted {
            return Ok(());
        }
        let at = text(&self.mount_point)?.to_owned();
        // a process that was killed may hold files for a moment longer
        for _ in 0..50 {
            if output("umount", &[&at])?.status.success() {
                self.mounted = false;
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
        }
        run("umount", &["--lazy", &at])?;
        self.mounted = false;
        Ok(())
    }

    /// Copies the image as it is now. The node must be frozen, or the copy would be of two times.
    ///
    /// # Errors
    /// What `cp` says.
    pub fn copy(&mut self) -> Result<PathBuf> {
        let before = self.image();
        self.generation += 1;
        run("cp", &["--sparse=always", text(&before)?, text(&self.image())?])?;
        Ok(before)
    }

    /// Goes on with the copy instead of the image `before`. The node must have ended.
    ///
    /// # Errors
    /// What `umount` and `mount` say.
    pub fn go_on_with_copy(&mut self, before: &Path) -> Result<()> {
        self.unmount()?;
        fs::remove_file(before)?;
        self.mount()
    }

    /// Takes all that is free now; what is given up afterwards is left to others. Returns how much it took.
    ///
    /// # Errors
    /// The disk's.
    pub fn fill(&self) -> Result<u64> {
        // the last bytes are taken one block at a time: how many there are depends on what the file system needs for itself
        const ROUGHLY: u64 = 256 << 10;
        const BLOCK: [u8; 4096] = [0x5a; 4096];
        let (free, path) = (self.free()?, self.ballast());
        if free > ROUGHLY {
            run("fallocate", &["-l", &(free - ROUGHLY).to_string(), text(&path)?])?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        for _ in 0..ROUGHLY / BLOCK.len() as u64 {
            if file.write_all(&BLOCK).and_then(|()| file.sync_data()).is_err() {
                break;
            }
        }
        Ok(free)
    }

    /// Gives the space back.
    ///
    /// # Errors
    /// The disk's.
    pub fn clear(&self) -> Result<()> {
        Ok(fs::remove_file(self.ballast())?)
    }

    /// Bytes that can still be written.
    ///
    /// # Errors
    /// What `df` says.
    pub fn free(&self) -> Result<u64> {
        let printed = run("df", &["--output=avail", "-B1", text(&self.mount_point)?])?;
        Ok(printed.lines().nth(1).unwrap_or_default().trim().parse()?)
    }

    fn ballast(&self) -> PathBuf {
        self.mount_point.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.unmount();
        let _ = fs::remove_dir_all(&self.images);
    }
}

/// Whether an image can be mounted here.
///
/// # Errors
/// Why not.
pub fn probe(dir: &Path) -> Result<()> {
    Disk::create(dir, "probe", true, 16 << 20).map(drop)
}
