"""Posts JSON to a server, with retries if it is busy or restarting, and one-line errors."""

import os
import threading
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import TimeoutError as LibraryTimeout
from urllib3.util import Retry

from limbeck.config import ConfigError

_PASSING = (408, 429, 500, 502, 503, 504)
"""HTTP status codes that are retried."""
_LONGEST = 60.0
"""Maximum seconds between two tries."""
_QUOTED = 200


class Client:
    """Posts JSON to one address, from several threads.

    Parameters
    ----------
    url
        Full address.
    timeout
        Seconds without a byte of the answer after which a request fails.
    retries
        Number of retries after the first try.
    backoff
        Seconds before the second retry (the first is immediate), doubled for each further one. A ``Retry-After`` of
        the server takes precedence.
    bearer_from
        Environment variable with the key to send; the key is neither stored nor shown.

    Raises
    ------
    ConfigError
        The variable is not set.
    """

    def __init__(self, url: str, *, timeout: float, retries: int, backoff: float, bearer_from: str | None) -> None:
        self.url = url
        self._timeout, self._tries = timeout, retries + 1
        self._variable = bearer_from
        self._key = None if bearer_from is None else os.environ.get(bearer_from)
        if bearer_from is not None and not self._key:
            raise ConfigError(
                "teacher.bearer_from must name an environment variable that holds the server's key, and no such "
                "variable is set: export it first; never put the key itself into a command"
            )
        self._retry = Retry(
            total=retries,
            backoff_factor=backoff / 2,  # urllib3 does not wait before the first retry, and doubles before the second
            backoff_max=_LONGEST,
            status_forcelist=_PASSING,
            allowed_methods=None,  # requests for scores can be repeated
            raise_on_status=False,
        )
        self._of_thread = threading.local()

    def post(self, body: dict[str, Any]) -> Any:
        """Return the JSON value of the server's answer.

        Raises
        ------
        ConfigError
            The server does not answer, refuses the request, or does not answer with JSON.
        """
        try:
            answer = self._session().post(self.url, json=body, timeout=self._timeout, allow_redirects=False)
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
            raise self._error("is no address; teacher.url must be one, such as http://localhost:8000") from None
        except requests.exceptions.RequestException as error:
            raise self._error(self._lost(_innermost(error))) from None
        if answer.status_code != 200:
            raise self._error(self._refusal(answer))
        try:
            return answer.json()
        except requests.exceptions.JSONDecodeError:
            what = f"the answer is no JSON but {self._quoted(answer)}"
            raise self._error(f"{what}; teacher.url must be the address of the re-ranker itself") from None

    def _session(self) -> requests.Session:
        session = getattr(self._of_thread, "session", None)
        if session is None:
            session = self._of_thread.session = requests.Session()
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=self._retry))
            if self._key is not None:
                session.headers["Authorization"] = f"Bearer {self._key}"
        return session

    def _lost(self, error: BaseException) -> str:
        """Describe why there is no complete answer."""
        if isinstance(error, TimeoutError | LibraryTimeout):
            remedy = "lower teacher.batch_size or teacher.concurrency, or raise teacher.timeout"
            return f"no answer in {self._timeout:g} s, {self._tried()}; {remedy}"
        why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        return f"no server answers ({why}), {self._tried()}; start it, or correct teacher.url"

    def _refusal(self, answer: requests.Response) -> str:
        status = answer.status_code
        said = f"{status} ({self._quoted(answer)})"
        if status in (401, 403):
            if self._variable is None:
                return f"{said}: the server requires a key; teacher.bearer_from=NAME sends the key in variable NAME"
            return f"{said}: the server refuses the key in ${self._variable}"
        if status in (404, 405):
            return f"{said}: nothing is here, or not this model; see teacher.form, teacher.model, or give the whole url"
        if status == 429:
            return f"{said}, {self._tried()}: it is too busy; lower teacher.concurrency, or raise teacher.retries"
        if 300 <= status < 400:
            return f"{said}: the server redirects to {answer.headers.get('Location')}; set teacher.url to that"
        if status >= 500:
            return f"{said}, {self._tried()}: the server failed; look at its log"
        return f"{said}: the server refuses the request; see teacher.form, teacher.model, teacher.batch_size"

    def _quoted(self, answer: requests.Response) -> str:
        """Return the start of an answer, without the key, which some servers repeat."""
        text = " ".join(answer.text[:10_000].split())
        text = text if self._key is None else text.replace(self._key, "(left out)")
        return repr(text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…") if text else "an empty answer"

    def _tried(self) -> str:
        return "tried once" if self._tries == 1 else f"tried {self._tries} times"

    def _error(self, problem: str) -> ConfigError:
        return ConfigError(f"teacher: {self.url}: {problem}")


def _innermost(error: BaseException) -> BaseException:
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error
