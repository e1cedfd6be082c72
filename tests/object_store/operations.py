"""The operations of S3 on buckets in memory: from a request to an answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import formatdate
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from tests.object_store.buckets import Bucket, Page, Version
from tests.object_store.faults import Answer, Asked, error_answer, partial_answer, range_of

_XML = {"content-type": "application/xml"}


def operation_of(method: str, key: str, query: dict[str, str]) -> str:
    """Return what a request asks for, by the names of `faults.OPERATIONS`."""
    if "uploadId" in query:
        return {"PUT": "put_part", "POST": "complete_upload", "DELETE": "abort_upload"}.get(method, "get")
    if method == "POST":
        return "delete" if "delete" in query else "begin_upload"
    if method == "GET" and not key:
        return "list"
    return method.lower()


def execute(buckets: dict[str, Bucket], asked: Asked) -> Answer:
    """Carry a request out."""
    bucket = buckets.get(asked.bucket)
    if bucket is None:
        return _without_body(asked, error_answer(404, "NoSuchBucket"))
    digest = asked.headers.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
    if digest != "UNSIGNED-PAYLOAD" and digest != hashlib.sha256(asked.body).hexdigest():
        return error_answer(400, "XAmzContentSHA256Mismatch")
    accepted = bucket.quirks.accepted_key
    if accepted is not None and f"Credential={accepted}/" not in asked.headers.get("authorization", ""):
        return _without_body(asked, error_answer(403, "InvalidAccessKeyId"))
    return _without_body(asked, _OPERATIONS[asked.operation](bucket, asked))


def _without_body(asked: Asked, answer: Answer) -> Answer:
    """Return the answer as it is to HEAD, which tells the length of a body that it has not."""
    if asked.operation != "head":
        return answer
    length = str(len(answer.body)) if answer.status == 200 else "0"
    return Answer(answer.status, {**answer.headers, "content-length": length})


def _read(bucket: Bucket, asked: Asked) -> Answer:
    found = bucket.get(asked.key, asked.query.get("versionId"))
    if found is None:
        word = "NoSuchVersion" if "versionId" in asked.query else "NoSuchKey"
        return error_answer(404, word)
    match = asked.headers.get("if-match")
    if match not in (None, "*", found.tag):
        return error_answer(412, "PreconditionFailed")
    answer = Answer(200, _headers_of(found), found.data, found.data)
    return _range_answer(answer, asked.headers["range"]) if "range" in asked.headers else answer


def _range_answer(answer: Answer, text: str) -> Answer:
    start, end = range_of(text)
    size = len(answer.body)
    if start >= size:
        return error_answer(416, "InvalidRange")
    return partial_answer(answer, start, min(end, size))


def _headers_of(found: Version) -> dict[str, str]:
    version = {} if found.version is None else {"x-amz-version-id": found.version}
    modified = formatdate(found.modified, usegmt=True)
    return {"etag": found.tag, "last-modified": modified, "accept-ranges": "bytes", **version}


def _put(bucket: Bucket, asked: Asked) -> Answer:
    given = asked.headers
    if given.get("content-md5"):
        return error_answer(400, "NotImplementedHere")
    stored = bucket.put_if(asked.key, asked.body, given.get("if-match"), given.get("if-none-match"))
    if isinstance(stored, int):
        return error_answer(stored, "PreconditionFailed" if stored == 412 else "NotImplemented")
    return Answer(200, _headers_of(stored))


def _delete(bucket: Bucket, asked: Asked) -> Answer:
    if asked.method == "DELETE":
        bucket.delete(asked.key)
        return Answer(204)
    keys = [element.text or "" for element in _elements(asked.body, "Key")]
    for key in keys:
        bucket.delete(key)
    gone = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
    return Answer(200, _XML, f"<DeleteResult>{gone}</DeleteResult>".encode())


def _begin_upload(bucket: Bucket, asked: Asked) -> Answer:
    upload = bucket.begin(asked.key)
    names = f"<Bucket>{asked.bucket}</Bucket><Key>{escape(asked.key)}</Key><UploadId>{upload}</UploadId>"
    return Answer(200, _XML, f"<InitiateMultipartUploadResult>{names}</InitiateMultipartUploadResult>".encode())


def _put_part(bucket: Bucket, asked: Asked) -> Answer:
    tag = bucket.put_part(asked.query["uploadId"], int(asked.query["partNumber"]), asked.body)
    return error_answer(404, "NoSuchUpload") if tag is None else Answer(200, {"etag": tag})


def _complete_upload(bucket: Bucket, asked: Asked) -> Answer:
    numbers = [int(element.text or 0) for element in _elements(asked.body, "PartNumber")]
    stored = bucket.complete(asked.query["uploadId"], numbers)
    if stored is None:
        return error_answer(404, "NoSuchUpload")
    tag = "" if bucket.quirks.upload_has_no_tag else stored.tag
    names = f"<Bucket>{asked.bucket}</Bucket><Key>{escape(asked.key)}</Key><ETag>{escape(tag)}</ETag>"
    version = {} if stored.version is None else {"x-amz-version-id": stored.version}
    text = f"<CompleteMultipartUploadResult>{names}</CompleteMultipartUploadResult>"
    return Answer(200, {**_XML, **version}, text.encode())


def _abort_upload(bucket: Bucket, asked: Asked) -> Answer:
    return Answer(204) if bucket.abort(asked.query["uploadId"]) else error_answer(404, "NoSuchUpload")


def _list(bucket: Bucket, asked: Asked) -> Answer:
    query = asked.query
    most = min(int(query.get("max-keys", "1000")), bucket.quirks.keys_of_a_page)
    after = query.get("continuation-token") or query.get("start-after") or ""
    page = bucket.page(query.get("prefix", ""), query.get("delimiter", ""), after, most)
    return Answer(200, _XML, _page_xml(page))


def _page_xml(page: Page) -> bytes:
    more = (
        "" if page.following is None else f"<NextContinuationToken>{escape(page.following)}</NextContinuationToken>"
    )
    keys = "".join(_key_xml(key, found) for key, found in page.keys)
    prefixes = "".join(f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in page.prefixes)
    cut = str(page.following is not None).lower()
    return f"<ListBucketResult><IsTruncated>{cut}</IsTruncated>{more}{keys}{prefixes}</ListBucketResult>".encode()


def _key_xml(key: str, found: Version) -> str:
    modified = datetime.fromtimestamp(found.modified, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return (
        f"<Contents><Key>{escape(key)}</Key><LastModified>{modified}</LastModified><ETag>{escape(found.tag)}</ETag>"
        f"<Size>{len(found.data)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )


def _elements(document: bytes, name: str) -> list[ET.Element]:
    return [element for element in ET.fromstring(document).iter() if element.tag.rpartition("}")[2] == name]


_OPERATIONS: dict[str, Callable[[Bucket, Asked], Answer]] = {
    "get": _read,
    "head": _read,
    "put": _put,
    "list": _list,
    "delete": _delete,
    "begin_upload": _begin_upload,
    "put_part": _put_part,
    "complete_upload": _complete_upload,
    "abort_upload": _abort_upload,
}
