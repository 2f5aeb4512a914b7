"""Secrets in targets.

`places` finds secrets by the target's type; `masking` shows them as `***` and restores them,
`redaction` removes them from texts of targets and servers; `references` fills in `${secret:NAME}`;
`bindings` says to which hosts a named secret may be sent.
"""
