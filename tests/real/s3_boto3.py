"""boto3, unmodified, against the S3 listener."""

import base64
import hashlib
import os
import threading
import time
import urllib.error
import urllib.request
import zlib

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError
from suite import FOLDER, TOKEN, URL, check, done, same

S3 = os.environ["SUITE_S3"]
ACCESS, SECRET = os.environ["SUITE_S3_KEY"], os.environ["SUITE_S3_SECRET"]


def client(access=ACCESS, secret=SECRET, **more):
    settings = {"retries": {"max_attempts": 1}, "s3": {"addressing_style": "path"}, **more}
    return boto3.client(
        "s3",
        endpoint_url=S3,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(**settings),
    )


def refused(call, **arguments):
    """The code and the status of a call that must fail."""
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    return None


def noise(size, seed):
    block = hashlib.shake_256(seed.encode()).digest(min(size, 1 << 20))
    return (block * (size // len(block) + 1))[:size] if size else b""


def over_http(path, method="GET", body=None, headers=None):
    request = urllib.request.Request(URL + path, data=body, method=method)
    request.add_header("Authorization", f"Bearer {TOKEN}")
    for name, value in (headers or {}).items():
        request.add_header(name, value)
    with urllib.request.urlopen(request) as answer:
        return answer.status, dict(answer.headers), answer.read()


def buckets(s3):
    names = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    check("the built-in buckets are listed", {"models", "packages", "cache"} <= set(names), names)
    s3.create_bucket(Bucket="trial")
    same("a bucket twice", refused(s3.create_bucket, Bucket="trial"), ("BucketAlreadyOwnedByYou", 409))
    same("head of a bucket", s3.head_bucket(Bucket="trial")["ResponseMetadata"]["HTTPStatusCode"], 200)
    same("head of none", refused(s3.head_bucket, Bucket="nothing"), ("404", 404))
    same("location", s3.get_bucket_location(Bucket="trial").get("LocationConstraint"), None)
    same("versioning is off", s3.get_bucket_versioning(Bucket="trial").get("Status"), None)
    grants = s3.get_bucket_acl(Bucket="trial")["Grants"]
    same("acl", [grant["Permission"] for grant in grants], ["FULL_CONTROL"])
    for call, code in [
        (s3.get_bucket_tagging, "NoSuchTagSet"),
        (s3.get_bucket_policy, "NoSuchBucketPolicy"),
        (s3.get_bucket_cors, "NoSuchCORSConfiguration"),
        (s3.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration"),
        (s3.get_bucket_encryption, "ServerSideEncryptionConfigurationNotFoundError"),
        (s3.get_object_lock_configuration, "ObjectLockConfigurationNotFoundError"),
    ]:
        same(f"{code}", refused(call, Bucket="trial")[0], code)
    same("a built-in bucket stays", refused(s3.delete_bucket, Bucket="models")[1], 409)
    for call, arguments in [
        (s3.get_bucket_website, {}),
        (s3.get_bucket_logging, {}),
        (s3.get_bucket_replication, {}),
        (s3.put_bucket_versioning, {"VersioningConfiguration": {"Status": "Enabled"}}),
        (s3.put_bucket_acl, {"ACL": "public-read"}),
    ]:
        name = call.__name__
        same(f"{name} is not there", refused(call, Bucket="trial", **arguments)[0], "NotImplemented")


def objects(s3):
    body = noise(100_000, "a")
    md5 = hashlib.md5(body).hexdigest()
    put = s3.put_object(
        Bucket="trial",
        Key="wind/模型 a+b%.bin",
        Body=body,
        ContentType="application/x-model",
        CacheControl="max-age=60",
        ContentDisposition="attachment; filename=a.bin",
        ContentEncoding="identity",
        ContentLanguage="zh",
        Metadata={"site": "XJJX", "note": "two words"},
        Tagging="stage=trial&team=wind%20power",
    )
    same("etag is the md5", put["ETag"], f'"{md5}"')
    key = {"Bucket": "trial", "Key": "wind/模型 a+b%.bin"}
    got = s3.get_object(**key)
    check("the bytes come back", got["Body"].read() == body)
    for field, value in [
        ("ContentType", "application/x-model"),
        ("CacheControl", "max-age=60"),
        ("ContentDisposition", "attachment; filename=a.bin"),
        ("ContentEncoding", "identity"),
        ("ContentLanguage", "zh"),
        ("ContentLength", 100_000),
        ("ETag", f'"{md5}"'),
        ("Metadata", {"site": "XJJX", "note": "two words"}),
        ("TagCount", 2),
    ]:
        same(f"get says {field}", got[field], value)
    head = s3.head_object(**key)
    same("head says the length", head["ContentLength"], 100_000)
    tags = {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(**key)["TagSet"]}
    same("tags of a header", tags, {"stage": "trial", "team": "wind power"})
    s3.put_object_tagging(**key, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    same("tags are set", s3.get_object_tagging(**key)["TagSet"], [{"Key": "a", "Value": "b"}])
    same("tagging leaves the time", s3.head_object(**key)["LastModified"], head["LastModified"])
    s3.delete_object_tagging(**key)
    same("tags are gone", s3.get_object_tagging(**key)["TagSet"], [])
    same("acl of an object", len(s3.get_object_acl(**key)["Grants"]), 1)
    status, headers, bytes_ = over_http("/api/v1/objects/trial/wind/%E6%A8%A1%E5%9E%8B%20a%2Bb%25.bin")
    check("the same object over HTTP", status == 200 and bytes_ == body)
    same("its digest over HTTP", headers["drip-sha256"], hashlib.sha256(body).hexdigest())
    over_http("/api/v1/objects/trial/from/http", "PUT", b"over http", {"Drip-Meta-Site": "A1"})
    other = s3.get_object(Bucket="trial", Key="from/http")
    same("an object of the HTTP interface", other["Body"].read(), b"over http")
    same("its metadata", other["Metadata"], {"site": "A1"})
    empty = s3.put_object(Bucket="trial", Key="empty", Body=b"")
    same("an empty object", empty["ETag"], '"d41d8cd98f00b204e9800998ecf8427e"')
    same("no such key", refused(s3.get_object, Bucket="trial", Key="none"), ("NoSuchKey", 404))
    same("no such bucket", refused(s3.get_object, Bucket="none", Key="x")[0], "NoSuchBucket")
    for odd in ["a//b", "a b", "a+b", "a%2Fb", "tail/", "é", "e\u0301", "k" * 1024]:
        s3.put_object(Bucket="trial", Key=odd, Body=odd.encode())
        same(f"the key {odd[:20]!r}", s3.get_object(Bucket="trial", Key=odd)["Body"].read(), odd.encode())
    same("a key too long", refused(s3.put_object, Bucket="trial", Key="k" * 1025, Body=b"")[0], "KeyTooLongError")
    same("dots in a key", refused(s3.put_object, Bucket="trial", Key="a/../b", Body=b"")[1], 400)
    for wish in [
        {"ServerSideEncryption": "AES256"},
        {"ACL": "public-read"},
        {"WebsiteRedirectLocation": "/x"},
        {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32},
        {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": "2099-01-01"},
    ]:
        code = refused(s3.put_object, Bucket="trial", Key="wish", Body=b"x", **wish)
        same(f"{sorted(wish)} is refused", code and code[0], "NotImplemented")


def reads(s3):
    s3.put_object(Bucket="trial", Key="digits", Body=b"0123456789")
    key = {"Bucket": "trial", "Key": "digits"}
    for wanted, found, shown in [
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
    ]:
        got = s3.get_object(**key, Range=wanted)
        same(f"range {wanted}", (got["Body"].read(), got["ContentRange"]), (found, shown))
        same(f"status of {wanted}", got["ResponseMetadata"]["HTTPStatusCode"], 206)
    same("a range outside", refused(s3.get_object, **key, Range="bytes=10-"), ("InvalidRange", 416))
    tag = s3.head_object(**key)["ETag"]
    modified = s3.head_object(**key)["LastModified"]
    same("if-match", s3.get_object(**key, IfMatch=tag)["Body"].read(), b"0123456789")
    same("if-match of others", refused(s3.get_object, **key, IfMatch='"x"'), ("PreconditionFailed", 412))
    same("if-none-match", refused(s3.get_object, **key, IfNoneMatch=tag)[1], 304)
    same("if-modified-since", refused(s3.get_object, **key, IfModifiedSince=modified)[1], 304)
    unmodified = refused(s3.get_object, **key, IfUnmodifiedSince="2001-01-01")
    same("if-unmodified-since", unmodified, ("PreconditionFailed", 412))
    named = s3.get_object(**key, ResponseContentType="text/x-test", ResponseCacheControl="no-cache")
    same("response overrides", (named["ContentType"], named["CacheControl"]), ("text/x-test", "no-cache"))
    attributes = s3.get_object_attributes(**key, ObjectAttributes=["ETag", "ObjectSize", "StorageClass"])
    # The crate that writes the wire quotes this one, S3 does not.
    said = (attributes["ObjectSize"], attributes["ETag"].strip('"'))
    same("attributes", said, (10, tag.strip('"')))


def writes(s3):
    key = {"Bucket": "trial", "Key": "once"}
    s3.put_object(**key, Body=b"one", IfNoneMatch="*")
    same("if-none-match *", refused(s3.put_object, **key, Body=b"two", IfNoneMatch="*"), ("PreconditionFailed", 412))
    tag = s3.head_object(**key)["ETag"]
    s3.put_object(**key, Body=b"two", IfMatch=tag)
    same("if-match of a write", refused(s3.put_object, **key, Body=b"three", IfMatch=tag)[0], "PreconditionFailed")
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    same("a wrong Content-MD5", refused(s3.put_object, **key, Body=b"three", ContentMD5=wrong)[0], "BadDigest")
    same("no MD5 at all", refused(s3.put_object, **key, Body=b"three", ContentMD5="zz")[0], "InvalidDigest")
    same("nothing was kept", s3.get_object(**key)["Body"].read(), b"two")
    for algorithm in ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]:
        try:
            put = s3.put_object(**key, Body=b"summed", ChecksumAlgorithm=algorithm)
        except Exception as error:  # the client lacks an optional package for two of them
            check(f"{algorithm} is not this client's", "CRT" in type(error).__name__.upper() or "crt" in str(error), error)
            continue
        field = f"Checksum{algorithm}"
        got = s3.get_object(**key, ChecksumMode="ENABLED")
        same(f"{algorithm} is kept", (got[field], got["Body"].read()), (put[field], b"summed"))
    crc = base64.b64encode(zlib.crc32(b"other").to_bytes(4, "big")).decode()
    same("a wrong CRC32", refused(s3.put_object, **key, Body=b"bytes", ChecksumCRC32=crc)[0], "BadDigest")
    plain = client(request_checksum_calculation="when_required")
    plain.put_object(Bucket="trial", Key="plain", Body=b"no checksum")
    same("without a checksum", plain.get_object(Bucket="trial", Key="plain")["Body"].read(), b"no checksum")


def lists(s3):
    threads = [threading.Thread(target=fill, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="many")
    keys = [item["Key"] for page in pages for item in page["Contents"]]
    expected = sorted(f"d{n // 1000}/k{n:05}" for n in range(5000))
    check("5 000 keys in order", keys == expected, len(keys))
    pages = s3.get_paginator("list_objects").paginate(Bucket="many", PaginationConfig={"PageSize": 700})
    keys = [item["Key"] for page in pages for item in page["Contents"]]
    check("the same by the first version", keys == expected, len(keys))
    one = s3.list_objects_v2(Bucket="many", Delimiter="/")
    same("prefixes", [p["Prefix"] for p in one["CommonPrefixes"]], [f"d{n}/" for n in range(5)])
    same("no keys beside them", one["KeyCount"], 5)
    some = s3.list_objects_v2(Bucket="many", Prefix="d3/k0300", MaxKeys=4)
    same("a prefix", [o["Key"] for o in some["Contents"]], [f"d3/k0300{n}" for n in range(4)])
    check("it is cut", some["IsTruncated"])
    after = s3.list_objects_v2(Bucket="many", StartAfter="d4/k04997")
    same("start after", [o["Key"] for o in after["Contents"]], ["d4/k04998", "d4/k04999"])
    names, token = [], {}
    while True:
        page = s3.list_objects_v2(Bucket="many", Delimiter="/", MaxKeys=2, **token)
        names += [p["Prefix"] for p in page["CommonPrefixes"]]
        if not page["IsTruncated"]:
            break
        token = {"ContinuationToken": page["NextContinuationToken"]}
    same("prefixes in pages", names, [f"d{n}/" for n in range(5)])
    marker = s3.list_objects(Bucket="many", Delimiter="/", MaxKeys=2)
    second = s3.list_objects(Bucket="many", Delimiter="/", MaxKeys=2, Marker=marker["NextMarker"])
    same("prefixes behind a marker", [p["Prefix"] for p in second["CommonPrefixes"]], ["d2/", "d3/"])
    same("no keys wanted", s3.list_objects_v2(Bucket="many", MaxKeys=0)["KeyCount"], 0)
    versions = s3.list_object_versions(Bucket="many", MaxKeys=2)
    same("versions", [v["VersionId"] for v in versions["Versions"]], ["null", "null"])
    bad = refused(s3.list_objects_v2, Bucket="many", ContinuationToken="***")
    same("a token of nobody", bad[0], "InvalidArgument")
    everything = [{"Key": key} for key in expected]
    deleted = 0
    for start in range(0, 5000, 1000):
        answer = s3.delete_objects(Bucket="many", Delete={"Objects": everything[start : start + 1000]})
        deleted += len(answer.get("Deleted", []))
    same("delete many", deleted, 5000)
    same("all are gone", s3.list_objects_v2(Bucket="many")["KeyCount"], 0)
    quiet = s3.delete_objects(Bucket="many", Delete={"Objects": [{"Key": "none"}], "Quiet": True})
    check("what is not there is deleted, quietly", "Deleted" not in quiet and "Errors" not in quiet, quiet)
    s3.delete_bucket(Bucket="many")
    same("the bucket is gone", refused(s3.head_bucket, Bucket="many")[1], 404)


def fill(part):
    s3 = client()
    for n in range(part * 500, part * 500 + 500):
        s3.put_object(Bucket="many", Key=f"d{n // 1000}/k{n:05}", Body=b"x")


def copies(s3):
    source = {"Bucket": "trial", "Key": "wind/模型 a+b%.bin"}
    before = s3.head_object(**source)
    copied = s3.copy_object(Bucket="models", Key="copy", CopySource=source)
    same("a copy has the same tag", copied["CopyObjectResult"]["ETag"], before["ETag"])
    same("and the metadata", s3.head_object(Bucket="models", Key="copy")["Metadata"], before["Metadata"])
    s3.copy_object(
        Bucket="models", Key="copy", CopySource={"Bucket": "models", "Key": "copy"},
        MetadataDirective="REPLACE", Metadata={"site": "B2"}, ContentType="text/plain",
    )
    head = s3.head_object(Bucket="models", Key="copy")
    same("metadata replaced in place", (head["Metadata"], head["ContentType"]), ({"site": "B2"}, "text/plain"))
    itself = refused(s3.copy_object, Bucket="models", Key="copy", CopySource={"Bucket": "models", "Key": "copy"})
    same("onto itself, unchanged", itself[0], "InvalidRequest")
    same("from nowhere", refused(s3.copy_object, Bucket="models", Key="x", CopySource="models/none")[0], "NoSuchKey")
    stale = refused(s3.copy_object, Bucket="models", Key="x", CopySource="models/copy", CopySourceIfMatch='"x"')
    same("a condition on the source", stale[0], "PreconditionFailed")
    s3.delete_object(Bucket="models", Key="copy")
    check("the source is whole", s3.get_object(**source)["Body"].read() == noise(100_000, "a"))


def parts(s3):
    size = 100 << 20
    path = os.path.join(FOLDER, "hundred")
    with open(path, "wb") as file:
        for n in range(100):
            file.write(noise(1 << 20, f"part{n}"))
    config = TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=8 << 20, max_concurrency=4)
    s3.upload_file(path, "trial", "hundred", Config=config, ExtraArgs={"Metadata": {"a": "b"}})
    head = s3.head_object(Bucket="trial", Key="hundred")
    same("100 MiB in parts", (head["ContentLength"], head["Metadata"]), (size, {"a": "b"}))
    check("its tag counts the parts", head["ETag"].endswith('-13"'), head["ETag"])
    back = path + ".back"
    s3.download_file("trial", "hundred", back, Config=config)
    check("it comes back", digest(path) == digest(back))
    sha = over_http("/api/v1/objects/trial/hundred", "HEAD")[1]["drip-sha256"]
    same("its digest is that of the whole", sha, digest(path))
    second = s3.get_object(Bucket="trial", Key="hundred", PartNumber=2)
    same("a part of it", (second["ContentLength"], second["PartsCount"]), (8 << 20, 13))
    with open(path, "rb") as file:
        file.seek(8 << 20)
        check("is the right one", second["Body"].read() == file.read(8 << 20))
    same("no such part", refused(s3.get_object, Bucket="trial", Key="hundred", PartNumber=14)[1], 416)
    attributes = s3.get_object_attributes(Bucket="trial", Key="hundred", ObjectAttributes=["ObjectParts"])
    same("its parts are counted", attributes["ObjectParts"]["TotalPartsCount"], 13)
    asked = {"Bucket": "trial", "Key": "hundred", "ObjectAttributes": ["ObjectParts"]}
    some = s3.get_object_attributes(**asked, MaxParts=2, PartNumberMarker=11)["ObjectParts"]
    sizes = [(part["PartNumber"], part["Size"]) for part in some["Parts"]]
    same("and listed", (sizes, some["IsTruncated"]), ([(12, 8 << 20), (13, 4 << 20)], False))

    key = {"Bucket": "trial", "Key": "by/hand"}
    upload = s3.create_multipart_upload(**key, ContentType="text/x-parts", ChecksumAlgorithm="CRC32")
    id_ = {"UploadId": upload["UploadId"]}
    large = noise(5 << 20, "large")
    first = s3.upload_part(**key, **id_, PartNumber=1, Body=b"will be replaced", ChecksumAlgorithm="CRC32")
    first = s3.upload_part(**key, **id_, PartNumber=1, Body=large, ChecksumAlgorithm="CRC32")
    third = s3.upload_part(**key, **id_, PartNumber=3, Body=b"the end", ChecksumAlgorithm="CRC32")
    listed = s3.list_parts(**key, **id_)
    same("parts are listed", [(p["PartNumber"], p["Size"]) for p in listed["Parts"]], [(1, 5 << 20), (3, 7)])
    pages = s3.list_parts(**key, **id_, MaxParts=1)
    same("in pages", (pages["IsTruncated"], pages["NextPartNumberMarker"]), (True, 1))
    uploads = s3.list_multipart_uploads(Bucket="trial")["Uploads"]
    same("uploads are listed", [u["Key"] for u in uploads], ["by/hand"])
    wanted = [
        {"PartNumber": 1, "ETag": first["ETag"], "ChecksumCRC32": first["ChecksumCRC32"]},
        {"PartNumber": 3, "ETag": third["ETag"], "ChecksumCRC32": third["ChecksumCRC32"]},
    ]
    complete = s3.complete_multipart_upload
    missing = [wanted[0], {"PartNumber": 2, "ETag": third["ETag"]}]
    same("a part that is missing", refused(complete, **key, **id_, MultipartUpload={"Parts": missing})[0], "InvalidPart")
    other = [wanted[0], {"PartNumber": 3, "ETag": first["ETag"]}]
    same("another tag", refused(complete, **key, **id_, MultipartUpload={"Parts": other})[0], "InvalidPart")
    order = refused(complete, **key, **id_, MultipartUpload={"Parts": wanted[::-1]})
    same("out of order", order[0], "InvalidPartOrder")
    answer = complete(**key, **id_, MultipartUpload={"Parts": wanted})
    crc = zlib.crc32(base64.b64decode(first["ChecksumCRC32"]) + base64.b64decode(third["ChecksumCRC32"]))
    composite = base64.b64encode(crc.to_bytes(4, "big")).decode() + "-2"
    same("a composite checksum", answer["ChecksumCRC32"], composite)
    again = complete(**key, **id_, MultipartUpload={"Parts": wanted})
    same("completed again", again["ETag"], answer["ETag"])
    got = s3.get_object(**key)
    check("the parts in order", got["Body"].read() == large + b"the end")
    same("what was said at the beginning", got["ContentType"], "text/x-parts")

    upload = s3.create_multipart_upload(**key, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    id_ = {"UploadId": upload["UploadId"]}
    one = s3.upload_part(**key, **id_, PartNumber=1, Body=large, ChecksumAlgorithm="CRC32")
    two = s3.upload_part_copy(**key, **id_, PartNumber=2, CopySource="trial/digits", CopySourceRange="bytes=2-5")
    wanted = [
        {"PartNumber": 1, "ETag": one["ETag"]},
        {"PartNumber": 2, "ETag": two["CopyPartResult"]["ETag"]},
    ]
    answer = complete(**key, **id_, MultipartUpload={"Parts": wanted})
    whole = base64.b64encode(zlib.crc32(large + b"2345").to_bytes(4, "big")).decode()
    same("a checksum of the whole", answer["ChecksumCRC32"], whole)
    same("a part that was copied", s3.get_object(**key, Range="bytes=-4")["Body"].read(), b"2345")

    upload = s3.create_multipart_upload(**key)
    id_ = {"UploadId": upload["UploadId"]}
    small = [s3.upload_part(**key, **id_, PartNumber=n, Body=b"small") for n in (1, 2)]
    wanted = [{"PartNumber": n + 1, "ETag": part["ETag"]} for n, part in enumerate(small)]
    same("parts too small", refused(complete, **key, **id_, MultipartUpload={"Parts": wanted})[0], "EntityTooSmall")
    s3.abort_multipart_upload(**key, **id_)
    same("given up", refused(s3.list_parts, **key, **id_)[0], "NoSuchUpload")
    gone = refused(s3.upload_part, **key, **id_, PartNumber=1, Body=b"x")
    same("no part of it any more", gone[0], "NoSuchUpload")
    check("no upload is left", "Uploads" not in s3.list_multipart_uploads(Bucket="trial"))
    number = refused(s3.upload_part, **key, UploadId="x", PartNumber=10001, Body=b"")
    same("a number too high", number[0], "InvalidArgument")


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def presigned(s3):
    # What boto3 does unless it is told otherwise: the second version of signatures.
    s3.put_object(Bucket="trial", Key="second", Body=b"by v2")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "trial", "Key": "second"}, ExpiresIn=60)
    same("a presigned get of the second version", urllib.request.urlopen(url).read(), b"by v2")
    s3 = client(signature_version="s3v4")
    url = s3.generate_presigned_url("put_object", Params={"Bucket": "trial", "Key": "signed url"}, ExpiresIn=60)
    request = urllib.request.Request(url, data=b"by url", method="PUT")
    same("a presigned put", urllib.request.urlopen(request).status, 200)
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "trial", "Key": "signed url"}, ExpiresIn=60)
    same("a presigned get", urllib.request.urlopen(url).read(), b"by url")
    short = s3.generate_presigned_url("get_object", Params={"Bucket": "trial", "Key": "signed url"}, ExpiresIn=1)
    time.sleep(2.5)
    for what, bad in [("expired", short), ("changed", url.replace("signed", "signet"))]:
        try:
            status = urllib.request.urlopen(bad).status
        except urllib.error.HTTPError as error:
            status = error.code
        same(f"a presigned url that is {what}", status, 403)
    try:
        status = urllib.request.urlopen(f"{S3}/trial/digits").status
    except urllib.error.HTTPError as error:
        status = error.code
    same("not signed at all", status, 403)
    form = urllib.request.Request(f"{S3}/trial", data=b"--x--", method="POST")
    form.add_header("Content-Type", "multipart/form-data; boundary=x")
    try:
        status = urllib.request.urlopen(form).status
    except urllib.error.HTTPError as error:
        status = error.code
    same("a form", status, 501)


def keys(s3):
    wrong = refused(client(access="nobody").list_buckets)
    same("a wrong access key", wrong, ("InvalidAccessKeyId", 403))
    wrong = refused(client(secret="wrong").list_buckets)
    same("a wrong secret", wrong, ("SignatureDoesNotMatch", 403))
    import json

    made = json.loads(over_http("/api/v1/s3-keys", "POST", b'{"note": "reader", "read_only": true}', {"Content-Type": "application/json"})[2])
    reader = client(access=made["access_key"], secret=made["secret_key"])
    same("a key that reads", reader.get_object(Bucket="trial", Key="digits")["Body"].read(), b"0123456789")
    may_not = refused(reader.put_object, Bucket="trial", Key="x", Body=b"")
    same("and does not write", may_not, ("AccessDenied", 403))
    over_http(f"/api/v1/s3-keys/{made['access_key']}", "DELETE")
    same("taken back", refused(reader.list_buckets)[0], "InvalidAccessKeyId")


def versions(s3):
    over_http("/api/v1/buckets/kept", "PUT", b'{"versions": 3}', {"Content-Type": "application/json"})
    same("versioning is on", s3.get_bucket_versioning(Bucket="kept")["Status"], "Enabled")
    ids = [s3.put_object(Bucket="kept", Key="a", Body=str(n).encode())["VersionId"] for n in range(5)]
    found = s3.list_object_versions(Bucket="kept")["Versions"]
    same("the newest and three before", [v["VersionId"] for v in found], ids[:0:-1])
    same("one of them", s3.get_object(Bucket="kept", Key="a", VersionId=ids[2])["Body"].read(), b"2")
    same("one that went", refused(s3.get_object, Bucket="kept", Key="a", VersionId=ids[0])[0], "NoSuchVersion")
    s3.delete_object(Bucket="kept", Key="a")
    same("deleted", refused(s3.get_object, Bucket="kept", Key="a")[0], "NoSuchKey")
    same("and still there", s3.get_object(Bucket="kept", Key="a", VersionId=ids[4])["Body"].read(), b"4")
    same("the bucket is not empty", refused(s3.delete_bucket, Bucket="kept")[0], "BucketNotEmpty")
    resource = boto3.resource("s3", endpoint_url=S3, aws_access_key_id=ACCESS, aws_secret_access_key=SECRET, region_name="us-east-1")
    resource.Bucket("kept").object_versions.delete()
    s3.delete_bucket(Bucket="kept")
    same("cleaned up", refused(s3.head_bucket, Bucket="kept")[1], 404)


def main():
    s3 = client()
    buckets(s3)
    s3.create_bucket(Bucket="many")
    objects(s3)
    reads(s3)
    writes(s3)
    lists(s3)
    copies(s3)
    parts(s3)
    presigned(s3)
    keys(s3)
    versions(s3)
    done()


main()
