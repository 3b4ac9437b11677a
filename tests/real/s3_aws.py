"""aws-cli, unmodified, against the S3 listener."""

import hashlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

from suite import FOLDER, check, done, same

S3 = os.environ["SUITE_S3"]
ACCESS, SECRET = os.environ["SUITE_S3_KEY"], os.environ["SUITE_S3_SECRET"]
AWS = os.path.join(os.path.dirname(sys.executable), "aws")


def aws(*arguments, **environment):
    settings = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": ACCESS,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": S3,
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.path.join(FOLDER, "none"),
        "PYTHONWARNINGS": "ignore",
        **environment,
    }
    ran = subprocess.run([AWS, *arguments], env=settings, capture_output=True, text=True, cwd=FOLDER)
    return ran.returncode, ran.stdout, ran.stderr


def works(*arguments):
    code, out, err = aws(*arguments)
    check(f"aws {' '.join(arguments[:3])}", code == 0, err.strip())
    return out


def write(name, size, seed):
    path = os.path.join(FOLDER, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    block = hashlib.shake_256(seed.encode()).digest(1 << 20)
    with open(path, "wb") as file:
        for start in range(0, size, 1 << 20):
            file.write(block[: min(1 << 20, size - start)])
    return path


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main():
    works("s3", "mb", "s3://aws")
    check("the bucket is listed", " aws\n" in works("s3", "ls"))
    small = write("small.bin", 10_000, "small")
    works("s3", "cp", small, "s3://aws/in/small.bin", "--metadata", "site=XJJX", "--content-type", "text/x-small")
    head = json.loads(works("s3api", "head-object", "--bucket", "aws", "--key", "in/small.bin"))
    same("what was said of it", (head["Metadata"], head["ContentType"]), ({"site": "XJJX"}, "text/x-small"))
    works("s3", "cp", "s3://aws/in/small.bin", "small.back")
    same("it comes back", digest(os.path.join(FOLDER, "small.back")), digest(small))

    large = write("large.bin", 100 << 20, "large")
    works("s3", "cp", large, "s3://aws/large.bin", "--no-progress")
    head = json.loads(works("s3api", "head-object", "--bucket", "aws", "--key", "large.bin"))
    check("100 MiB in parts", head["ContentLength"] == 100 << 20 and "-13" in head["ETag"], head)
    works("s3", "cp", "s3://aws/large.bin", "large.back", "--no-progress")
    same("they come back", digest(os.path.join(FOLDER, "large.back")), digest(large))
    works("s3api", "get-object", "--bucket", "aws", "--key", "large.bin", "--range", "bytes=10-19", "part.bin")
    same("a range", os.path.getsize(os.path.join(FOLDER, "part.bin")), 10)

    for n in range(300):
        write(f"tree/d{n % 3}/f{n:03} 风.txt", 10, str(n))
    works("s3", "sync", "tree", "s3://aws/tree", "--no-progress")
    listed = works("s3", "ls", "s3://aws/tree/", "--recursive").splitlines()
    same("a folder is synced", len(listed), 300)
    same("its folders", works("s3", "ls", "s3://aws/tree/").count("PRE"), 3)
    same("nothing is sent twice", works("s3", "sync", "tree", "s3://aws/tree", "--no-progress"), "")
    works("s3", "sync", "s3://aws/tree", "tree.back", "--no-progress")
    name = "d1/f001 风.txt"
    same("and back", digest(os.path.join(FOLDER, "tree.back", name)), digest(os.path.join(FOLDER, "tree", name)))

    works("s3", "cp", "s3://aws/large.bin", "s3://models/copied.bin", "--no-progress")
    works("s3", "mv", "s3://models/copied.bin", "s3://models/moved.bin", "--no-progress")
    listed = works("s3", "ls", "s3://models/")
    check("copied and moved", "moved.bin" in listed and "copied.bin" not in listed, listed)
    works("s3api", "put-object-tagging", "--bucket", "models", "--key", "moved.bin", "--tagging", "TagSet=[{Key=a,Value=b}]")
    tags = json.loads(works("s3api", "get-object-tagging", "--bucket", "models", "--key", "moved.bin"))
    same("tags", tags["TagSet"], [{"Key": "a", "Value": "b"}])

    url = works("s3", "presign", "s3://aws/in/small.bin").strip()
    same("a presigned url", len(urllib.request.urlopen(url).read()), 10_000)
    streamed = subprocess.run([AWS, "s3", "cp", "s3://aws/in/small.bin", "-"], capture_output=True, env={
        **os.environ, "AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": S3, "PYTHONWARNINGS": "ignore",
    })
    same("to standard output", len(streamed.stdout), 10_000)

    works("s3", "rm", "s3://aws/", "--recursive", "--quiet")
    works("s3", "rb", "s3://aws")
    check("the bucket is gone", " aws\n" not in works("s3", "ls"))
    works("s3", "rm", "s3://models/moved.bin")

    code, _, err = aws("s3", "ls", AWS_ACCESS_KEY_ID="nobody")
    check("a wrong key", code != 0 and "InvalidAccessKeyId" in err, err)
    code, _, err = aws("s3", "ls", AWS_SECRET_ACCESS_KEY="wrong")
    check("a wrong secret", code != 0 and "SignatureDoesNotMatch" in err, err)
    code, _, err = aws("s3api", "put-bucket-website", "--bucket", "models", "--website-configuration", "{}")
    check("what is not there", code != 0 and "NotImplemented" in err, err)
    code, _, err = aws("s3", "cp", "s3://models/none", "none")
    check("no such object", code != 0 and "404" in err, err)
    done()


main()
