"""minio-py, unmodified, against the S3 listener, and the way that caskctl of Drip 0.1 used it."""

import hashlib
import io
import os
import urllib.request
from datetime import timedelta

from minio import Minio
from minio.commonconfig import CopySource, Tags
from minio.deleteobjects import DeleteObject
from minio.error import S3Error
from suite import FOLDER, check, done, same

ADDRESS = os.environ["SUITE_S3"].removeprefix("http://")
ACCESS, SECRET = os.environ["SUITE_S3_KEY"], os.environ["SUITE_S3_SECRET"]


def connect(access=ACCESS, secret=SECRET):
    return Minio(ADDRESS, access_key=access, secret_key=secret, secure=False)


def refused(call):
    try:
        call()
    except S3Error as error:
        return error.code
    return None


def main():
    client = connect()
    # caskctl upload-file asked whether its buckets were there, made them, and put the file.
    for bucket in ["models", "packages", "components"]:
        if not client.bucket_exists(bucket):
            client.make_bucket(bucket)
    path = os.path.join(FOLDER, "model.bin")
    block = hashlib.shake_256(b"model").digest(1 << 20)
    with open(path, "wb") as file:
        for _ in range(100):
            file.write(block)
    client.fput_object("models", "wind/model.bin", path, metadata={"site": "XJJX"})
    stat = client.stat_object("models", "wind/model.bin")
    same("100 MiB in parts", stat.size, 100 << 20)
    same("its metadata", stat.metadata.get("x-amz-meta-site"), "XJJX")
    client.fget_object("models", "wind/model.bin", path + ".back")
    with open(path, "rb") as one, open(path + ".back", "rb") as two:
        check("it comes back", hashlib.file_digest(one, "sha256").digest() == hashlib.file_digest(two, "sha256").digest())
    answer = client.get_object("models", "wind/model.bin", offset=5, length=10)
    same("a range", answer.read(), block[5:15])
    answer.close()
    answer.release_conn()

    check("no such bucket", not client.bucket_exists("minio"))
    client.make_bucket("minio")
    for n in range(1200):
        client.put_object("minio", f"d{n % 2}/k{n:04}", io.BytesIO(b"x"), 1)
    same("all keys", len(list(client.list_objects("minio", recursive=True))), 1200)
    same("folders", [o.object_name for o in client.list_objects("minio")], ["d0/", "d1/"])
    same("a prefix", len(list(client.list_objects("minio", prefix="d1/", recursive=True))), 600)
    # A stream whose length nobody knows.
    client.put_object("minio", "stream", io.BytesIO(block * 12), -1, part_size=5 << 20)
    same("a stream in parts", client.stat_object("minio", "stream").size, 12 << 20)
    client.copy_object("minio", "copy", CopySource("minio", "stream"))
    same("a copy", client.stat_object("minio", "copy").size, 12 << 20)
    tags = Tags.new_object_tags()
    tags["a"] = "b"
    client.set_object_tags("minio", "copy", tags)
    same("tags", dict(client.get_object_tags("minio", "copy")), {"a": "b"})
    url = client.presigned_get_object("minio", "d0/k0000", expires=timedelta(minutes=1))
    same("a presigned url", urllib.request.urlopen(url).read(), b"x")
    url = client.presigned_put_object("minio", "put by url", expires=timedelta(minutes=1))
    request = urllib.request.Request(url, data=b"bytes", method="PUT")
    same("a presigned put", urllib.request.urlopen(request).status, 200)

    names = [o.object_name for o in client.list_objects("minio", recursive=True)]
    errors = list(client.remove_objects("minio", [DeleteObject(name) for name in names]))
    same("all deleted", errors, [])
    client.remove_bucket("minio")
    check("the bucket is gone", not client.bucket_exists("minio"))
    client.remove_object("models", "wind/model.bin")
    same("no such object", refused(lambda: client.stat_object("models", "wind/model.bin")), "NoSuchKey")
    same("a wrong key", refused(lambda: connect(access="nobody").list_buckets()), "InvalidAccessKeyId")
    same("a wrong secret", refused(lambda: connect(secret="wrong").list_buckets()), "SignatureDoesNotMatch")
    done()


main()
