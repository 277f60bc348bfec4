//! The names of the host's users, from `/etc/passwd` (passwd(5)).

use std::fs::File;
use std::io::Read;

const MAX_PASSWD_BYTES: u64 = 1 << 20;

/// The host's users; none if they cannot be read.
#[derive(Clone, Debug, Default)]
pub struct Users(String);

impl Users {
    /// Reads them.
    pub fn read() -> Self {
        let mut bytes = Vec::new();
        let file = File::open("/etc/passwd");
        let _ = file.and_then(|file| file.take(MAX_PASSWD_BYTES).read_to_end(&mut bytes));
        Self(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The name of a user; the number if it has none.
    pub fn name(&self, uid: u32) -> String {
        let number = uid.to_string();
        let named = self.0.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == number).then(|| name.to_owned())
        });
        named.unwrap_or(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_by_number() {
        let users = Users("root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\n".to_owned());
        assert_eq!(users.name(1000), "app");
        assert_eq!(users.name(7), "7");
    }
}
