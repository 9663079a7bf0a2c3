//! Owns the question whether one connection may have one topic (docs/protocol.md §11.3).
//! Never knows the connection and never remembers an answer.

use std::fmt;

use super::pattern::{Pattern, PatternError};

/// Most patterns of one ACL, allow and deny together. More than a token may carry: the host may grant more.
pub const MAX_ACL_PATTERNS: usize = 1024;

/// Why an ACL could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AclError {
    /// More than [`MAX_ACL_PATTERNS`].
    TooMany,
    /// A pattern is too long.
    Pattern(PatternError),
}

impl fmt::Display for AclError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(f, "more than {MAX_ACL_PATTERNS} topic patterns"),
            Self::Pattern(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AclError {}

impl From<PatternError> for AclError {
    fn from(error: PatternError) -> Self {
        Self::Pattern(error)
    }
}

/// The topics of one connection. The default allows everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acl {
    allow: Box<[Pattern]>,
    deny: Box<[Pattern]>,
}

impl Acl {
    /// Compiles an ACL. **An empty `allow` allows everything** that is not denied, it never means "nothing": to allow
    /// nothing, deny `*`.
    ///
    /// # Errors
    /// [`AclError`] for too many patterns or one that is too long.
    pub fn new<S: AsRef<str>>(allow: &[S], deny: &[S]) -> Result<Self, AclError> {
        if allow.len() + deny.len() > MAX_ACL_PATTERNS {
            return Err(AclError::TooMany);
        }
        let compile = |list: &[S]| -> Result<Box<[Pattern]>, PatternError> {
            list.iter().map(|pattern| Pattern::new(pattern.as_ref())).collect()
        };
        Ok(Self { allow: compile(allow)?, deny: compile(deny)? })
    }

    /// Whether the ACL allows everything, so that no check is needed at delivery.
    pub fn is_unrestricted(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// Whether `topic` is allowed: no deny pattern matches, and an allow pattern does or there is none.
    ///
    /// At subscribe a pattern subscription is passed here as it is written, a literal string: `user:1:*` does not
    /// allow `*`, but `allow ["*"], deny ["secret"]` does allow `s*`. So for pattern subscribers the check is
    /// repeated at delivery with the concrete topic.
    pub fn allows(&self, topic: &str) -> bool {
        let any = |list: &[Pattern]| list.iter().any(|pattern| pattern.matches(topic));
        !any(&self.deny) && (self.allow.is_empty() || any(&self.allow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(allow: &[&str], deny: &[&str]) -> Acl {
        Acl::new(allow, deny).unwrap()
    }

    #[test]
    fn the_default_allows_everything() {
        assert!(Acl::default().is_unrestricted());
        assert!(Acl::default().allows("anything"));
        assert_eq!(Acl::default(), acl(&[], &[]));
    }

    #[test]
    fn allow_restricts_and_deny_wins() {
        let acl = acl(&["user:1:*", "news"], &["*:secret"]);
        assert!(!acl.is_unrestricted());
        assert!(acl.allows("user:1:orders") && acl.allows("news"));
        assert!(!acl.allows("user:2:orders") && !acl.allows("newspaper"));
        assert!(!acl.allows("user:1:secret"));
    }

    #[test]
    fn deny_alone_leaves_the_rest_open() {
        let acl = acl(&[], &["secret*"]);
        assert!(acl.allows("news") && !acl.allows("secrets"));
        assert!(!acl.is_unrestricted());
    }

    #[test]
    fn pattern_subscriptions_are_literals_here() {
        assert!(!acl(&["user:1:*"], &[]).allows("*"));
        assert!(!acl(&["user:1:*"], &[]).allows("user:?:x"));
        assert!(acl(&["user:1:*"], &[]).allows("user:1:a*"));
        // The hole that the second check, at delivery, closes.
        let open = acl(&["*"], &["secret"]);
        assert!(open.allows("s*") && !open.allows("secret"));
    }

    #[test]
    fn limits_are_errors() {
        let many = vec!["a"; MAX_ACL_PATTERNS];
        assert!(Acl::new(&many, &[]).is_ok());
        assert_eq!(Acl::new(&many, &["a"]), Err(AclError::TooMany));
        let long = "a".repeat(super::super::MAX_PATTERN_BYTES + 1);
        assert_eq!(Acl::new(&[long], &[]), Err(AclError::Pattern(PatternError)));
    }
}
