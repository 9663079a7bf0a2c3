//! The tokens of open connections as JavaScript exchanges and revokes them.

use napi::Env;
use napi::bindgen_prelude::Object;
use napi_derive::napi;
use wse_engine::{RefreshError, Refreshed, Revocation};

use crate::convert::id;
use crate::error::{ErrorCode, Failure, Outcome};
use crate::server::NativeServer;

/// A token that was exchanged.
#[napi(object, object_from_js = false)]
pub struct NativeRefreshed {
    /// Unix seconds; null: the connection does not end with it.
    #[napi(ts_type = "number | null")]
    pub expires_at: Option<f64>,
}

#[napi]
impl NativeServer {
    /// Gives a connection another token of its user; null: nobody has this id. Rejects with `WSE_TOKEN_INVALID`,
    /// `WSE_TOKEN_REVOKED`, `WSE_TOKEN_OTHER_USER`, `WSE_TOKEN_UNAVAILABLE`, `WSE_TOKEN_BUSY` or `WSE_NO_JWT`.
    #[napi(ts_return_type = "Promise<NativeRefreshed | null>")]
    pub fn refresh_token<'env>(&self, env: &'env Env, conn: f64, token: String) -> napi::Result<Object<'env>> {
        self.running().map_err(|failure| failure.thrown(env))?;
        let (deferred, promise) = env.create_deferred()?;
        self.engine.refresh_token(id(conn), &token, move |outcome| {
            deferred.resolve(move |env| refreshed(outcome).map_err(|failure| failure.thrown(&env)));
        });
        Ok(promise)
    }

    /// Believes no token any more that matches, those issued after `before` (Unix seconds; null: none are) left out; how many
    /// connections are closed for it.
    #[napi]
    pub fn revoke(
        &self,
        env: &Env,
        #[napi(ts_arg_type = "string | null")] sub: Option<String>,
        #[napi(ts_arg_type = "string | null")] jti: Option<String>,
        #[napi(ts_arg_type = "number | null")] before: Option<f64>,
    ) -> napi::Result<u32> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the facade checked the range")]
        let before = before.map(|before| before as u64);
        let revoked = self.running().and_then(|()| {
            if !self.engine.verifies_tokens() {
                return Err(no_jwt());
            }
            let revoked = self.engine.revoke(&Revocation { sub, jti, before });
            revoked.map_err(|full| Failure::new(ErrorCode::RevocationsFull, full))
        });
        revoked.map(|count| u32::try_from(count).unwrap_or(u32::MAX)).map_err(|failure| failure.thrown(env))
    }
}

fn no_jwt() -> Failure {
    Failure::new(ErrorCode::NoJwt, "the server has no jwt, and verifies no tokens")
}

fn refreshed(outcome: Result<Refreshed, RefreshError>) -> Outcome<Option<NativeRefreshed>> {
    #[expect(clippy::cast_precision_loss, reason = "an expiry is at most 2^53 - 1")]
    let expires_at = |refreshed: Refreshed| refreshed.expires_at.map(|at| at as f64);
    let code = match outcome {
        Ok(refreshed) => return Ok(Some(NativeRefreshed { expires_at: expires_at(refreshed) })),
        Err(RefreshError::UnknownConnection) => return Ok(None),
        Err(RefreshError::NoAuth) => return Err(no_jwt()),
        Err(RefreshError::Invalid) => ErrorCode::TokenInvalid,
        Err(RefreshError::Revoked) => ErrorCode::TokenRevoked,
        Err(RefreshError::OtherUser) => ErrorCode::TokenOtherUser,
        Err(RefreshError::Unavailable) => ErrorCode::TokenUnavailable,
        Err(RefreshError::Busy) => ErrorCode::TokenBusy,
    };
    let text = outcome.map_or_else(|error| error.to_string(), |_| String::new());
    Err(Failure::new(code, text))
}
