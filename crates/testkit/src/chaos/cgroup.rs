//! Less of a processor: the quota of a control group, in either version of the interface.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

const PERIOD_US: u64 = 100_000;
/// Where groups can be made, and whether in version 2 of the interface.
const ROOTS: [(&str, bool); 3] = [
    ("/sys/fs/cgroup/cpu", false),
    ("/sys/fs/cgroup/cpu,cpuacct", false),
    ("/sys/fs/cgroup", true),
];

/// Removes what a run that was ended in its midst has left.
pub fn remove_all(run: &Path) {
    let prefix = format!("{}-", run.file_name().unwrap_or_default().to_string_lossy());
    for (root, _) in ROOTS {
        let Ok(groups) = fs::read_dir(root) else { continue };
        for group in groups.flatten() {
            if group.file_name().to_string_lossy().starts_with(&prefix) {
                let _ = fs::remove_dir(group.path());
            }
        }
    }
}

/// A control group, removed when this is dropped.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    /// Version 2 of the interface.
    unified: bool,
}

impl Cgroup {
    /// Makes one, named after the directory of the run: within namespaces the number of a process says nothing.
    ///
    /// # Errors
    /// There is no controller for processors that this process may use.
    pub fn new(run: &Path, name: &str) -> Result<Self> {
        let run = run.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{run}-{name}");
        for (root, unified) in ROOTS {
            let path = Path::new(root).join(&name);
            let quota = if unified { "cpu.max" } else { "cpu.cfs_quota_us" };
            if fs::create_dir(&path).is_ok() {
                if path.join(quota).exists() {
                    return Ok(Self { path, unified });
                }
                let _ = fs::remove_dir(&path);
            }
        }
        bail!("no control group for processors can be made")
    }

    /// The process, and all of its threads, are in the group from now on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn take(&self, pid: u32) -> Result<()> {
        Ok(fs::write(self.path.join("cgroup.procs"), pid.to_string())?)
    }

    /// The process goes back to where groups begin; one that is gone already may be given.
    ///
    /// # Errors
    /// The kernel's.
    pub fn release(&self, pid: Option<u32>) -> Result<()> {
        if let (Some(pid), Some(parent)) = (pid, self.path.parent())
            && Path::new("/proc").join(pid.to_string()).exists()
        {
            fs::write(parent.join("cgroup.procs"), pid.to_string())?;
        }
        Ok(())
    }

    /// Those in the group get so many in 100 of one core together; `None`: no limit.
    ///
    /// # Errors
    /// The kernel's.
    pub fn limit(&self, percent: Option<u64>) -> Result<()> {
        let quota = percent.map(|percent| PERIOD_US * percent / 100);
        if self.unified {
            let quota = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
            return Ok(fs::write(self.path.join("cpu.max"), format!("{quota} {PERIOD_US}"))?);
        }
        fs::write(self.path.join("cpu.cfs_period_us"), PERIOD_US.to_string())?;
        let quota = quota.map_or_else(|| "-1".to_owned(), |quota| quota.to_string());
        Ok(fs::write(self.path.join("cpu.cfs_quota_us"), quota)?)
    }

    /// How often those in the group had to wait because of the limit.
    pub fn throttled(&self) -> u64 {
        let stat = fs::read_to_string(self.path.join("cpu.stat")).unwrap_or_default();
        let line = stat.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // its processes go back to where groups begin
        if let Some(parent) = self.path.parent() {
            let members = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
            for pid in members.lines() {
                let _ = fs::write(parent.join("cgroup.procs"), pid);
            }
        }
        let _ = fs::remove_dir(&self.path);
    }
}
