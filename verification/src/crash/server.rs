//! The program under test as a child process.
//!
//! Promises: it is ended when dropped. Leaves to the caller: its directory.

use super::{Error, PATIENCE, Plan};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
}

impl Server {
    /// Starts it on `data` and waits for its start-up line.
    ///
    /// # Errors
    /// [`Error::Broken`] when it does not start: recovery must always succeed.
    pub fn start(plan: &Plan, data: &Path) -> Result<Self, Error> {
        let mut child = spawn(plan, data)?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let address = line
            .split("http://")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|address| address.parse().ok());
        match address {
            Some(address) => Ok(Self { address, child }),
            None => {
                child.kill()?;
                child.wait()?;
                let said = std::fs::read_to_string(messages(plan)).unwrap_or_default();
                Err(Error::Broken(format!("the server does not start: {said}")))
            }
        }
    }

    /// Starts another one on `data` and kills it after `delay`, wherever it is then.
    ///
    /// # Errors
    /// [`Error::Setup`].
    pub fn start_and_kill(&mut self, plan: &Plan, data: &Path, delay: Duration) -> Result<(), Error> {
        let mut child = spawn(plan, data)?;
        std::thread::sleep(delay);
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Errors
    /// [`Error::Broken`] when it had ended by itself.
    pub fn kill(&mut self) -> Result<(), Error> {
        if let Some(status) = self.child.try_wait()? {
            return Err(Error::Broken(format!("the server ended by itself: {status}")));
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks for a graceful stop and waits for it.
    ///
    /// # Errors
    /// [`Error::Broken`] when it does not end.
    pub fn stop(mut self) -> Result<(), Error> {
        if let Some(status) = self.child.try_wait()? {
            return Err(Error::Broken(format!("the server ended by itself: {status}")));
        }
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err(Error::Broken("the server does not stop".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn messages(plan: &Plan) -> std::path::PathBuf {
    plan.directory.join("stderr")
}

fn spawn(plan: &Plan, data: &Path) -> Result<Child, Error> {
    let said = File::create(messages(plan))?;
    let child = Command::new(&plan.program)
        .args(["serve", "--listen", "127.0.0.1:0", "--ack-level", &plan.level])
        .args(["--client-requests-per-second-max", "0", "--data-dir"])
        .arg(data)
        .args(&plan.flags)
        .stdout(Stdio::piped())
        .stderr(said)
        .spawn();
    child.map_err(|error| Error::Setup(format!("{}: {error}", plan.program.display())))
}
