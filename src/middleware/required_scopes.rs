//! Scopes as types: what extractors and guards require, checked at compile time.

use std::fmt;
use std::marker::PhantomData;

use crate::scope::{Implications, Requirement, Scope, ScopeSet};

/// Types that name the scopes which a route requires.
///
/// A single scope is declared with [`scopes!`](crate::scopes). A tuple of up to eight requires all
/// of its parts, [`AnyOf`] a tuple at least one, and they nest:
///
/// ```
/// use tower_bearer::middleware::{AnyOf, RequiredScopes};
///
/// tower_bearer::scopes! {
///     /// Reading orders.
///     pub OrdersRead = "orders:read";
///     pub OrdersWrite = "orders:write";
///     pub Admin = "admin";
/// }
///
/// fn names<S: RequiredScopes>() {}
/// names::<OrdersRead>();
/// names::<(OrdersRead, AnyOf<(OrdersWrite, Admin)>)>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` doesn't name the scopes of an access token",
    label = "not declared with `scopes!`",
    note = "declare it: `tower_bearer::scopes! {{ pub OrdersRead = \"orders:read\"; }}`",
    note = "for all of several write a tuple of up to eight, `(A, B)`; for any of them `AnyOf<(A, B)>`"
)]
pub trait RequiredScopes {
    /// Returns `true` if these scopes include those that are required.
    #[doc(hidden)]
    fn are_in(granted: &ScopeSet, implications: &Implications) -> bool;

    /// Returns the requirement.
    #[doc(hidden)]
    fn requirement() -> Requirement;
}

/// Requires at least one of the parts of a tuple. See [`RequiredScopes`].
pub struct AnyOf<T>(PhantomData<fn() -> T>);

impl<T> fmt::Debug for AnyOf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyOf")
    }
}

macro_rules! tuples {
    ($first:ident $($other:ident)*) => {
        impl<$first: RequiredScopes, $($other: RequiredScopes),*> RequiredScopes
            for ($first, $($other,)*)
        {
            fn are_in(granted: &ScopeSet, implications: &Implications) -> bool {
                $first::are_in(granted, implications)
                    $(&& $other::are_in(granted, implications))*
            }

            fn requirement() -> Requirement {
                Requirement::all([$first::requirement(), $($other::requirement()),*])
            }
        }

        impl<$first: RequiredScopes, $($other: RequiredScopes),*> RequiredScopes
            for AnyOf<($first, $($other,)*)>
        {
            fn are_in(granted: &ScopeSet, implications: &Implications) -> bool {
                $first::are_in(granted, implications)
                    $(|| $other::are_in(granted, implications))*
            }

            fn requirement() -> Requirement {
                Requirement::any_of($first::requirement(), [$($other::requirement()),*])
            }
        }

        tuples! { $($other)* }
    };
    () => {};
}

tuples! { A B C D E F G H }

/// The name of one scope, checked at compile time.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct ScopeName(&'static str);

impl ScopeName {
    /// # Panics
    ///
    /// If it isn't a valid scope. Within a constant, that is a compile-time error.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        assert!(
            is_scope(name.as_bytes()),
            "not a scope: use one or more printable ASCII characters without space, '\"' and '\\'"
        );
        Self(name)
    }

    pub fn is_in(self, granted: &ScopeSet, implications: &Implications) -> bool {
        implications.grants(granted, self.0)
    }

    pub fn requirement(self) -> Requirement {
        Scope::from_checked(self.0).into()
    }
}

/// As `Scope::new` checks it, but at compile time.
const fn is_scope(mut name: &[u8]) -> bool {
    if name.is_empty() {
        return false;
    }
    while let [first, rest @ ..] = name {
        if !matches!(first, 0x21 | 0x23..=0x5b | 0x5d..=0x7e) {
            return false;
        }
        name = rest;
    }
    true
}

/// Declares types that stand for scopes, for `RequireScope` (feature `axum`), guards and tables.
///
/// An invalid scope doesn't compile.
///
/// ```
/// tower_bearer::scopes! {
///     /// Reading orders.
///     pub OrdersRead = "orders:read";
///     pub(crate) OrdersWrite = "orders:write";
/// }
/// ```
#[macro_export]
macro_rules! scopes {
    ($($(#[$attribute:meta])* $visibility:vis $name:ident = $scope:literal;)*) => {$(
        #[doc = concat!("The scope `", $scope, "`.\n")]
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug)]
        #[non_exhaustive]
        $visibility struct $name;

        const _: () = {
            const NAME: $crate::middleware::ScopeName = $crate::middleware::ScopeName::new($scope);

            impl $crate::middleware::RequiredScopes for $name {
                fn are_in(
                    granted: &$crate::ScopeSet,
                    implications: &$crate::Implications,
                ) -> bool {
                    NAME.is_in(granted, implications)
                }

                fn requirement() -> $crate::Requirement {
                    NAME.requirement()
                }
            }
        };
    )*};
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::scopes! {
        A1 = "a";
        B1 = "b";
        C1 = "c";
    }

    #[test]
    fn tuples_are_all_of_and_any_of_is_any_of() {
        type Nested = (A1, AnyOf<(B1, (C1, A1))>);
        let none = Implications::default();
        for (granted, met) in
            [("a b", true), ("a c", true), ("a", false), ("b c", false), ("", false)]
        {
            let granted = ScopeSet::parse(granted);
            assert_eq!(Nested::are_in(&granted, &none), met, "{granted}");
            assert_eq!(Nested::requirement().is_met_by(&granted, &none), met, "{granted}");
        }
        assert_eq!(
            <(A1,)>::requirement().sufficient_for(&ScopeSet::default(), &none).as_str(),
            "a"
        );
    }

    #[test]
    fn implied_scopes_count() {
        let implications = Implications::builder().implies("admin", ["a"]).build().unwrap();
        assert!(A1::are_in(&ScopeSet::parse("admin"), &implications));
        assert!(!B1::are_in(&ScopeSet::parse("admin"), &implications));
    }

    #[test]
    fn the_check_at_compile_time_is_that_of_scope_new() {
        for byte in 0..=u8::MAX {
            let name = char::from(byte).to_string();
            assert_eq!(is_scope(name.as_bytes()), Scope::new(&name).is_ok(), "{byte:#x}");
        }
        assert!(!is_scope(b"") && is_scope(b"a:b") && !is_scope(b"a b"));
    }
}
