"""What to do when the store fails: try again, or say in a line what is wrong and how to mend it.

Tried again, with exponential back-off and jitter (8 tries, about 20 s in all): connections that fail, reset or stall,
5xx and throttling, and answers that are cut short, garbled or whose bytes do not match their digest. Everything else
is raised at once. The server's own words are not repeated, only its error code: some servers put keys and signatures
there.
"""

import http.client
import logging
import random
import ssl
import time
from collections.abc import Callable
from typing import TypeVar
from xml.etree.ElementTree import ParseError

import urllib3.exceptions
from minio.error import InvalidResponseError, S3Error, ServerError

from tamis.errors import TamisError, UserError
from tamis.store.endpoint import number

T = TypeVar("T")
_log = logging.getLogger(__name__)

_FIRST, _LONGEST = 0.2, 8.0  # seconds of back-off
_AGAIN = {
    "BadDigest",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "SlowDownRead",
    "SlowDownWrite",
    "XAmzContentSHA256Mismatch",
    "XMinioServerNotInitialized",
}
_KEYS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the files in TAMIS_S3_SECRET_DIR"
_MEND = {
    "NoSuchBucket": "there is no such bucket; create it or correct the URI",
    "NoSuchKey": "there is no such object; check the URI",
    "InvalidAccessKeyId": f"the store does not know this access key; {_KEYS}",
    "SignatureDoesNotMatch": f"the secret key does not fit the access key; {_KEYS}",
    "InvalidSecurity": f"the store does not accept these credentials; {_KEYS}",
    "ExpiredToken": "the credentials have expired; renew them and run again, what is complete is kept",
    "TokenRefreshRequired": "the credentials have expired; renew them and run again, what is complete is kept",
    "InvalidToken": "the session token is not valid; renew it or unset AWS_SESSION_TOKEN",
    "InvalidTokenId": "the session token is not valid; renew it or unset AWS_SESSION_TOKEN",
    "AccessDenied": "access denied: these credentials may not do this here",
    "AllAccessDisabled": "access denied: these credentials may not do this here",
    "RequestTimeTooSkewed": "this machine's clock differs too much from the store's; set it right",
    "AuthorizationHeaderMalformed": "the region is wrong; set AWS_REGION",
    "PermanentRedirect": "the bucket is in another region; set AWS_REGION and the endpoint of that region",
    "InvalidBucketName": "the store does not accept this bucket name",
    "KeyTooLongError": "the store does not accept so long a key",
    "EntityTooLarge": "the store does not accept so large an object",
}
_FULL = {"XMinioStorageFull", "InsufficientStorage", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded"}


class Damaged(Exception):
    """Bytes are missing or not what their digest says; worth another try."""


class Missing(UserError):
    """There is no such object, in a bucket that is there."""


class Conflict(Exception):
    """A condition of a request did not hold: the object is there already, or has changed."""


def retrying(what: str, call: Callable[[], T], endpoint: str = "") -> T:
    """Calls until it works or cannot work.

    Args:
        what: What is being done to which URI, for the error ("read s3://bucket/key").
        call: The request and the check of its answer; it must be right to do it twice.
        endpoint: Named when it does not answer.

    Raises:
        Conflict: A condition of the request did not hold.
        UserError: The user can mend it.
        TamisError: It failed to the end.
    """
    attempts = number("TAMIS_S3_ATTEMPTS", 8)
    for attempt in range(1, attempts + 1):
        try:
            return call()
        except Exception as error:  # sorted by `_explain`, which passes on what it does not know
            final = _explain(error, f"cannot {what}")
            if final:
                raise final from None
            if attempt == attempts:
                raise TamisError(f"cannot {what}: {_last_words(error, endpoint)} ({attempts} tries)") from None
            if attempt > 2:  # one or two are usual; more is worth knowing when a run is slow
                _log.warning(
                    "still trying to %s: %s (try %d of %d)", what, _last_words(error, endpoint), attempt, attempts
                )
        time.sleep(min(_LONGEST, _FIRST * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0))
    raise AssertionError("unreachable")


def _explain(error: Exception, cannot: str) -> Exception | None:
    """The error to raise, or None where trying again may help."""
    if isinstance(error, S3Error):
        code, status = error.code or "", error.response.status
        if code == "PreconditionFailed" or status == 412:
            return Conflict()
        if code in _FULL or status == 507:
            return TamisError(f"{cannot}: the store is full ({code})")
        if code in _AGAIN or status >= 500 or status in (408, 429):
            return None
        if code in _MEND:
            return (Missing if code == "NoSuchKey" else UserError)(f"{cannot}: {_MEND[code]}")
        return UserError(
            f"{cannot}: the store refused with {status} {code[:60]}; expired credentials or a wrong region do this"
        )
    if isinstance(error, ServerError):
        return None if error.status_code >= 500 else TamisError(f"{cannot}: the store answered {error.status_code}")
    if isinstance(error, InvalidResponseError):
        answer = int(getattr(error, "_code", 500))
        if 300 <= answer < 500 and answer not in (408, 429):
            return UserError(
                f"{cannot}: the endpoint answered {answer} without an S3 error; is TAMIS_S3_ENDPOINT an S3 store?"
            )
        return None
    if isinstance(error, urllib3.exceptions.SSLError | ssl.SSLError):
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return UserError(
                f"{cannot}: the endpoint's certificate is not trusted; set TAMIS_S3_CA_FILE to its authority's PEM file"
            )
        if "WRONG_VERSION_NUMBER" in str(error):
            return UserError(
                f"{cannot}: the endpoint does not speak TLS; write http:// in TAMIS_S3_ENDPOINT, or mend the endpoint"
            )
        return None
    again = (
        Damaged,
        urllib3.exceptions.HTTPError,
        http.client.HTTPException,
        ConnectionError,
        TimeoutError,
        ParseError,
        ValueError,  # headers or XML that cannot be read
    )
    return None if isinstance(error, again) else error


def _last_words(error: Exception, endpoint: str) -> str:
    if isinstance(error, Damaged):
        return str(error)
    if isinstance(error, S3Error):
        return f"the store answers {error.response.status} {(error.code or '')[:60]}"
    if isinstance(error, ServerError):
        return f"the store answers {error.status_code}"
    if isinstance(error, InvalidResponseError):
        return f"the store answers {getattr(error, '_code', 'garbage')}"
    at = f"{endpoint} " if endpoint else "the store "
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return f"{at}is unknown (no such host); check TAMIS_S3_ENDPOINT"
    if isinstance(error, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError):
        return f"{at}cannot be reached; check TAMIS_S3_ENDPOINT and that the store runs"
    if isinstance(error, urllib3.exceptions.TimeoutError | TimeoutError):
        return f"{at}does not answer in time"
    if isinstance(error, ParseError | ValueError):
        return f"{at}sends answers that cannot be read"
    return f"{at}drops the connection"
