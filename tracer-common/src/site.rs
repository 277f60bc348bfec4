//! A site inside an allocator's function, at which a probe finds what is asked for and given in registers. User space
//! finds out where they are, and says it in the cookie by which the probe is attached.

use crate::arch::SAVED_WORD_BY_ENCODING;

/// No register: the value is not known at this site.
pub const NO_REGISTER: u8 = u8::MAX;

/// The register with this number in instructions, as a [`ProbeSite`] has it.
pub fn register(number: usize) -> u8 {
    SAVED_WORD_BY_ENCODING.get(number).copied().unwrap_or(NO_REGISTER)
}

/// The values that a probe finds at its site. Registers are words of the kernel's `pt_regs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeSite {
    /// Has the size that was asked for.
    pub size_register: u8,
    /// Has the address that is going to be returned.
    pub address_register: u8,
    /// The frame is found by the frame pointer, and not by the stack pointer.
    pub frame_by_fp: bool,
    /// Words from that register to the CFA, the stack pointer after the return.
    pub cfa_words: u16,
    /// Words from the CFA to the caller's saved frame pointer; 0: it is in its register.
    pub fp_words: i8,
}

impl ProbeSite {
    /// The site as a cookie.
    pub fn cookie(self) -> u64 {
        self.size_register as u64
            | (self.address_register as u64) << 8
            | (self.frame_by_fp as u64) << 16
            | (self.fp_words as u8 as u64) << 24
            | (self.cfa_words as u64) << 32
    }

    /// The site of a cookie.
    #[inline(always)]
    pub fn of_cookie(cookie: u64) -> Self {
        Self {
            size_register: cookie as u8,
            address_register: (cookie >> 8) as u8,
            frame_by_fp: cookie >> 16 & 1 != 0,
            fp_words: (cookie >> 24) as i8,
            cfa_words: (cookie >> 32) as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_says_it_all() {
        let site = ProbeSite {
            size_register: register(3),
            address_register: register(0),
            frame_by_fp: false,
            cfa_words: 6,
            fp_words: -3,
        };
        let others = [
            ProbeSite {
                size_register: NO_REGISTER,
                frame_by_fp: true,
                cfa_words: u16::MAX,
                fp_words: 0,
                ..site
            },
            ProbeSite { address_register: NO_REGISTER, fp_words: i8::MIN, ..site },
        ];
        for site in [site].into_iter().chain(others) {
            assert_eq!(ProbeSite::of_cookie(site.cookie()), site);
        }
        assert_eq!(register(16), NO_REGISTER);
    }
}
