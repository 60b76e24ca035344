//! Choices read from bytes: what a generator asks when it could go either way.
//!
//! Promises: the same bytes give the same choices; when they run out each answer is 0, which generators take
//! for the simplest and shortest way, so that every generation ends. Leaves to the caller: the bytes.

/// A supply of choices.
#[derive(Clone, Debug)]
pub struct Choices<'a> {
    bytes: &'a [u8],
    /// Whether faults are made at all.
    faulty: bool,
}

impl<'a> Choices<'a> {
    /// The choices that `bytes` make.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, faulty: false }
    }

    /// Decides whether what follows has faults; without, a generator makes only what is sound.
    pub fn decide_on_faults(&mut self) {
        self.faulty = self.one_in(3);
    }

    /// Whether to make a fault here: true in about one of `count` answers, where faults are made at all.
    pub fn fault(&mut self, count: usize) -> bool {
        self.faulty && self.one_in(count)
    }

    /// One of `sound`, or now and then one of `faults`.
    pub fn pick_or_fault<'b, T: ?Sized>(&mut self, sound: &[&'b T], faults: &[&'b T]) -> &'b T {
        let options = if self.fault(16) { faults } else { sound };
        self.pick(options)
    }

    /// Whether every further answer is 0.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.bytes.split_first() else {
            return 0;
        };
        self.bytes = rest;
        first
    }

    /// A number below `count`, which is 1 to 65,536.
    pub fn below(&mut self, count: usize) -> usize {
        let wide = usize::from(self.byte());
        let wide = if count > 256 {
            wide << 8 | usize::from(self.byte())
        } else {
            wide
        };
        wide % count
    }

    /// A byte of `least ..= most`.
    pub fn byte_in(&mut self, least: u8, most: u8) -> u8 {
        let wide = u16::from(self.byte()) % (u16::from(most - least) + 1);
        u8::try_from(wide).map_or(least, |offset| least + offset)
    }

    /// True in about one of `count` answers; false when the bytes have run out.
    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) + 1 == count
    }

    /// One of `options`.
    pub fn pick<'b, T: ?Sized>(&mut self, options: &[&'b T]) -> &'b T {
        options[self.below(options.len())]
    }

    /// Up to `count` of the bytes as they are.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(count.min(self.bytes.len()));
        self.bytes = rest;
        taken
    }
}

/// Changes a few bytes of `document`: replaces, inserts, removes, repeats and cuts.
pub fn mutate(document: &mut Vec<u8>, choices: &mut Choices<'_>) {
    for _ in 0..=choices.below(4) {
        if document.is_empty() {
            return;
        }
        let place = choices.below(document.len().min(65_536));
        match choices.below(6) {
            0 => document[place] = interesting(choices),
            1 => document.insert(place, interesting(choices)),
            2 => {
                document.remove(place);
            }
            3 => {
                let end = (place + choices.below(16)).min(document.len());
                let copy = document[place..end].to_vec();
                document.splice(place..place, copy);
            }
            4 => document[place] ^= 1 << choices.below(8),
            _ => document.truncate(place),
        }
    }
}

/// A byte that means something in a protocol of text, mostly.
fn interesting(choices: &mut Choices<'_>) -> u8 {
    const BYTES: &[u8] = b"\"\\{}[],: \t\r\n0123456789-+.eEutfn/aDd\x00\x1f\x7f\x80\xbf\xc0\xe2\xed\xf0\xff";
    match choices.below(BYTES.len() + 1) {
        0 => choices.byte(),
        index => BYTES[index - 1],
    }
}
