//! What holds for every input of this floor's readers, as checks that panic. The property tests,
//! the replay of the fuzzers' seeds and the fuzzers share them.
