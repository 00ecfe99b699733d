"""Keep secrets out of records: values whose names sound like secrets, and such values of the environment.

The environment is never recorded: ``env.json`` has versions and the device, but no variables. Yet a configuration may
have read a variable (``${oc.env:…}``), and a command line may contain a key.
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

_SECRET = re.compile(r"(?:^|_)(?:key|apikey|token|password|passwd|secret|credential|auth)s?(?:_|$)")
_LOOKS = re.compile(
    r"\b(?:hf_|sk-|gh[opsu]_|github_pat_|glpat-|AKIA|xox[abp]-)[\w-]{16,}|(?<=://)[^\s/:@]+:[^\s/@]+(?=@)"
)
"""Keys in the formats of well-known services, and ``name:password@`` in an address."""
_LEAST_SECRET = 8
"""Shortest value of the environment that is searched for: shorter ones may appear by chance."""
_LEFT_OUT = "(left out)"


def without_secrets(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without entries whose names sound like secrets, and without secrets of the environment.

    Parameters
    ----------
    config
        Plain containers. They may contain the values of environment variables (``${oc.env:…}``): those with such names
        are replaced everywhere.
    """
    hidden = _hidden()

    def shown(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: shown(each) for key, each in value.items() if not is_secret(str(key))}
        if isinstance(value, list | tuple):
            return [shown(each) for each in value]
        return _replaced(value, hidden) if isinstance(value, str) else value

    return shown(config)


def masked(words: Sequence[str]) -> list[str]:
    """Return the words of a command line with everything masked that looks like a secret.

    Examples
    --------
    >>> masked(["train", "+logger.api_key=abc", "--hf-token", "abc", "data.collection=x"])
    ['train', '+logger.api_key=(left out)', '--hf-token', '(left out)', 'data.collection=x']
    """
    hidden, shown, after = _hidden(), [], False
    for word in words:
        key, sign, _ = word.partition("=")
        named = is_secret(key)
        if after:
            shown.append(_LEFT_OUT)
        else:
            shown.append(f"{key}={_LEFT_OUT}" if named and sign else _replaced(word, hidden))
        after = named and not sign and word.startswith("-")
    return shown


def _hidden() -> list[str]:
    return [value for name, value in os.environ.items() if is_secret(name) and len(value) >= _LEAST_SECRET]


def _replaced(text: str, hidden: Sequence[str]) -> str:
    for secret in hidden:
        text = text.replace(secret, _LEFT_OUT)
    return _LOOKS.sub(_LEFT_OUT, text)


def is_secret(name: str) -> bool:
    """Return whether the name of a key or a variable sounds like a secret."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|\W", "_", name).lower()
    return _SECRET.search(words) is not None
