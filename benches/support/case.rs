//! The requests that are measured and counted, and the services that answer them.

use std::convert::Infallible;

use axum::body::Body;
use axum::response::Response;
use http::{Request, StatusCode};
use tower::{Layer, Service};
use tower_bearer::{Access, BearerAuthLayer, Validator};

use crate::capability::Capability;
use crate::floors::{CheckingLayer, RefusingLayer, WrappingLayer};
use crate::service::{
    ControlLayer, Reading, Template, asking_router, control_asking_router, forgetful_validator,
    guard, router, send, validator,
};
use crate::tokens::{Issuer, Signing};
use crate::turns::Contender;

/// What a layer is put on decides about the type of what it makes.
macro_rules! placed {
    ($place:expr, $layer:expr, $template:expr) => {
        placed!($place, $layer, $template, router())
    };
    ($place:expr, $layer:expr, $template:expr, $router:expr) => {
        match $place {
            Place::Layer => Started::new($router.layer($layer), $template),
            Place::Around => Started::new($layer.layer($router), $template),
        }
    };
}

pub(crate) use placed;

/// Where a layer is put.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// `Router::layer`: within the router, which boxes what it makes.
    Layer,
    /// Around the router.
    Around,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    NoToken,
    Garbage,
    WrongAlgorithm,
    WrongIssuer,
    WrongAudience,
    Expired,
    UnknownKid,
    Forged,
    ForgedAgain,
    Scope,
}

impl Refused {
    pub const ALL: [Self; 10] = [
        Self::NoToken,
        Self::Garbage,
        Self::WrongAlgorithm,
        Self::WrongIssuer,
        Self::WrongAudience,
        Self::Expired,
        Self::UnknownKid,
        Self::Forged,
        Self::ForgedAgain,
        Self::Scope,
    ];

    /// Those that are refused for what the token says, before its signature is checked.
    pub const UNCHECKED: [Self; 4] =
        [Self::WrongAlgorithm, Self::WrongIssuer, Self::WrongAudience, Self::Expired];

    pub const fn name(self) -> &'static str {
        match self {
            Self::NoToken => "no token",
            Self::Garbage => "garbage",
            Self::WrongAlgorithm => "wrong alg",
            Self::WrongIssuer => "wrong issuer",
            Self::WrongAudience => "wrong audience",
            Self::Expired => "expired",
            Self::UnknownKid => "unknown kid",
            Self::Forged => "forged",
            Self::ForgedAgain => "forged, again",
            Self::Scope => "insufficient scope",
        }
    }

    /// The token that is refused.
    pub fn token(self) -> Option<String> {
        let issuer = Issuer::new(Signing::Rs256);
        Some(match self {
            Self::NoToken => return None,
            Self::Garbage => "this.is.no-token".into(),
            Self::WrongAlgorithm => issuer.token_with_header("alg", "HS512"),
            Self::WrongIssuer => issuer.token_with("iss", "https://login.example.com/realms/test"),
            Self::WrongAudience => issuer.token_with("aud", "https://invoices.example.com"),
            Self::Expired => issuer.token_with("exp", 1_767_229_200),
            Self::UnknownKid => issuer.token_with_header("kid", "production-2025-10-rs256"),
            Self::Forged | Self::ForgedAgain => issuer.forged(0),
            Self::Scope => issuer.token(0),
        })
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::Scope => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    /// What refuses it. To the one without a cache, each token is new.
    pub fn validator(self) -> Validator {
        match self {
            Self::ForgedAgain | Self::Scope => validator(Signing::Rs256),
            _ => forgetful_validator(Signing::Rs256),
        }
    }
}

/// A service, and what it is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Case {
    Bare,
    Control(Place),
    Warm(Place),
    /// A seen token, and a handler that asks for it.
    Asked(Place),
    /// The control, and a handler that asks for what it inserts.
    ControlAsked(Place),
    Cold(Place, Signing),
    Refused(Place, Refused),
    /// No service at all, but the bare check of a signature.
    Floor(Signing),
    /// A layer that decodes a token and checks its signature, and nothing more.
    Checking(Place, Signing),
    /// The control, as a layer with a type of its own for bodies.
    Wrapping,
    /// A layer that refuses everybody, and looks at nothing.
    Refusing(Place),
    /// A request without a token, to a layer with metadata.
    Published(Place),
    /// A tool call of 1 KiB, whose body the server reads.
    Tool(Behind),
    /// What isn't a bearer token of one issuer.
    With(Capability),
}

/// What an MCP server is behind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Behind {
    Layer,
    /// The guard, which reads the body first, within the layer.
    Guard,
}

impl Case {
    /// The name by which a process of its own is told which case to run.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    pub fn named(name: &str) -> Option<Self> {
        let places = [Place::Layer, Place::Around];
        let placed = places.into_iter().flat_map(|place| {
            let cold = Signing::ALL.map(|signing| Self::Cold(place, signing));
            let refused = Refused::ALL.map(|refused| Self::Refused(place, refused));
            let others = [
                Self::Control(place),
                Self::Warm(place),
                Self::Asked(place),
                Self::ControlAsked(place),
                Self::Refusing(place),
                Self::Published(place),
            ];
            let checking = Signing::ALL.map(|signing| Self::Checking(place, signing));
            others.into_iter().chain(cold).chain(checking).chain(refused)
        });
        let alone =
            [Self::Bare, Self::Wrapping, Self::Tool(Behind::Layer), Self::Tool(Behind::Guard)];
        let all = placed.chain(Signing::ALL.map(Self::Floor)).chain(alone);
        let mut all = all.chain(Capability::all().map(Self::With));
        all.find(|case| case.name() == name)
    }

    /// What it takes to run this: it has run once already, and answered as it should.
    pub fn start(self) -> Started {
        let token = || Template::with(&Issuer::new(Signing::Rs256).token(0));
        let layer = BearerAuthLayer::new;
        let started = match self {
            Self::Bare => Started::new(router(), token()),
            Self::Control(place) => placed!(place, ControlLayer::default(), token()),
            Self::Warm(place) => placed!(place, layer(validator(Signing::Rs256)), token()),
            Self::Asked(place) => {
                placed!(place, layer(validator(Signing::Rs256)), token(), asking_router())
            }
            Self::ControlAsked(place) => {
                placed!(place, ControlLayer::default(), token(), control_asking_router())
            }
            Self::Cold(place, signing) => {
                let template = Template::with(&Issuer::new(signing).token(0));
                placed!(place, layer(forgetful_validator(signing)), template)
            }
            Self::Refused(place, refused) => {
                let layer = match refused {
                    Refused::Scope => {
                        layer(refused.validator()).fallback(Access::scope("orders:admin")).unwrap()
                    }
                    _ => layer(refused.validator()),
                };
                let template =
                    refused.token().map_or_else(Template::bare, |token| Template::with(&token));
                Started { status: refused.status(), ..placed!(place, layer, template) }
            }
            Self::Floor(signing) => {
                let issuer = Issuer::new(signing);
                let floor = issuer.floor(&issuer.token(0));
                Started::alone(move || assert!(floor.check()))
            }
            Self::Checking(place, signing) => {
                placed!(place, CheckingLayer::new(signing), token())
            }
            Self::Wrapping => Started::new(router().layer(WrappingLayer::default()), token()),
            Self::Refusing(place) => {
                let started = placed!(place, RefusingLayer::default(), Template::bare());
                Started { status: StatusCode::UNAUTHORIZED, ..started }
            }
            Self::Published(place) => {
                let layer = layer(Refused::NoToken.validator());
                let layer = layer.resource("https://orders.example.com").unwrap();
                let started = placed!(place, layer, Template::bare());
                Started { status: StatusCode::UNAUTHORIZED, ..started }
            }
            Self::With(capability) => capability.start(),
            Self::Tool(behind) => {
                let layer = layer(validator(Signing::Rs256));
                let template = Template::tool_call(&Issuer::new(Signing::Rs256).token(0));
                match behind {
                    Behind::Layer => Started::new(layer.layer(Reading), template),
                    Behind::Guard => Started::new(layer.layer(guard().layer(Reading)), template),
                }
            }
        };
        started.checked(self)
    }

    /// The same, to be timed.
    pub fn contender(self) -> Contender<'static> {
        let Started { mut send, template, status } = self.start();
        match self {
            Self::Floor(_) => {}
            Self::With(capability) if capability.is_floor() => {}
            Self::With(capability) if capability.is_fresh() => {
                return Contender::fresh(send, template, status);
            }
            _ => return Contender::requests(send, vec![template], status),
        }
        Contender::calls(move || {
            send(Request::new(Body::empty()));
        })
    }
}

type Send = Box<dyn FnMut(Request<Body>) -> StatusCode>;

/// A case that is ready to be run.
pub struct Started {
    pub send: Send,
    pub template: Template,
    pub status: StatusCode,
}

impl Started {
    pub(crate) fn new<S, B>(mut service: S, template: Template) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + 'static,
    {
        let send = move |request| send(&mut service, request);
        Self { send: Box::new(send), template, status: StatusCode::OK }
    }

    /// What is no request.
    pub(crate) fn alone(mut call: impl FnMut() + 'static) -> Self {
        let send = move |_| {
            call();
            StatusCode::OK
        };
        Self { send: Box::new(send), template: Template::bare(), status: StatusCode::OK }
    }

    fn checked(mut self, case: Case) -> Self {
        for _ in 0..4 {
            let status = (self.send)(self.template.request());
            assert_eq!(status, self.status, "{case:?}");
        }
        self
    }
}
