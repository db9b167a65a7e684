//! What a backend that is polled is asked for, and what it gives.

/// How often a class is worth reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Changes by itself all the time.
    Quick,
    /// Hardly ever changes unless somebody changes it.
    Slow,
}

/// An object of a backend that is polled.
#[derive(Debug)]
pub struct Found {
    /// Its class.
    pub class: &'static str,
    /// Its ref.
    pub reference: String,
    /// Its record as JSON; none when the object has gone.
    pub record: Option<String>,
    /// The backend's own form of it, as JSON, where that tells more than the record.
    pub raw: Option<String>,
}

/// What one poll found.
#[derive(Debug, Default)]
pub struct Records {
    /// The objects.
    pub found: Vec<Found>,
    /// The classes that were read: an object of theirs that was not found is not there.
    pub classes: Vec<&'static str>,
}
