//! A place inside an allocator's function, at which a probe finds what is asked for and given in registers:
//! what user space found out about it, in the cookie by which the probe is attached.

/// No register: the value is not known at this place.
pub const NO_REGISTER: u8 = u8::MAX;

/// Where a probe finds the general registers, by their numbers in instructions (rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi,
/// r8 to r15): words in the kernel's `pt_regs`.
const SAVED_AT: [u8; 16] = [10, 11, 12, 5, 19, 4, 13, 14, 9, 8, 7, 6, 3, 2, 1, 0];

pub const RAX: u8 = 10;
pub const RBX: u8 = 5;

/// Where the register of this number is, in a [`Place`].
pub fn register(number: usize) -> u8 {
    SAVED_AT.get(number).copied().unwrap_or(NO_REGISTER)
}

/// See the module. Registers are words of `pt_regs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Has the size that was asked for.
    pub size_register: u8,
    /// Has the address that is going to be returned.
    pub address_register: u8,
    /// The frame is found by rbp, and not by rsp.
    pub frame_by_rbp: bool,
    /// From that register to the CFA, the stack pointer after the return.
    pub cfa_words: u16,
    /// Where the caller's rbp was saved, from the CFA; 0: it is in rbp.
    pub rbp_words: i8,
}

impl Place {
    /// As a cookie.
    pub fn cookie(self) -> u64 {
        self.size_register as u64
            | (self.address_register as u64) << 8
            | (self.frame_by_rbp as u64) << 16
            | (self.rbp_words as u8 as u64) << 24
            | (self.cfa_words as u64) << 32
    }

    /// From a cookie.
    #[inline(always)]
    pub fn of_cookie(cookie: u64) -> Self {
        Self {
            size_register: cookie as u8,
            address_register: (cookie >> 8) as u8,
            frame_by_rbp: cookie >> 16 & 1 != 0,
            rbp_words: (cookie >> 24) as i8,
            cfa_words: (cookie >> 32) as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_says_it_all() {
        let place = Place {
            size_register: register(3),
            address_register: register(0),
            frame_by_rbp: false,
            cfa_words: 6,
            rbp_words: -3,
        };
        let others = [
            Place {
                size_register: NO_REGISTER,
                frame_by_rbp: true,
                cfa_words: u16::MAX,
                rbp_words: 0,
                ..place
            },
            Place { address_register: NO_REGISTER, rbp_words: i8::MIN, ..place },
        ];
        for place in [place].into_iter().chain(others) {
            assert_eq!(Place::of_cookie(place.cookie()), place);
        }
    }

    #[test]
    fn every_register_has_a_word_of_its_own() {
        let words: std::collections::BTreeSet<u8> = (0..16).map(register).collect();
        assert_eq!(words.len(), 16);
        assert!(words.iter().all(|word| *word < 21), "pt_regs has 21 words");
        assert_eq!((register(0), register(3)), (RAX, RBX));
        assert_eq!(register(16), NO_REGISTER);
    }
}
