package mirror

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const scheme = "s3://"

// Is reports whether a name is that of a copy, and not of a directory.
func Is(name string) bool { return strings.HasPrefix(name, scheme) }

// Name is the last part of the name of a copy.
func Name(name string) string { return path.Base(strings.TrimPrefix(name, scheme)) }

// bucket is a prefix of a bucket. Names of objects are below it.
type bucket struct {
	client       *minio.Client
	name, prefix string
	secrets      []string // never to be told
}

func (b *bucket) String() string { return scheme + b.name + "/" + b.prefix }

// open connects to nothing yet.
func open(at string) (*bucket, error) {
	name, prefix, _ := strings.Cut(strings.TrimPrefix(at, scheme), "/")
	prefix = strings.Trim(prefix, "/")
	if !Is(at) || name == "" || !fs.ValidPath(prefix) || prefix == "." ||
		strings.ContainsAny(at[len(scheme):], "@:?# ") {
		return nil, fmt.Errorf("mirror: want s3://BUCKET/PREFIX, without credentials: those come from the environment")
	}
	endpoint := cmp.Or(os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"), "https://s3.amazonaws.com")
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("mirror: AWS_ENDPOINT_URL is not an address such as https://storage.example.com")
	}
	secrets := []string{os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"),
		os.Getenv("AWS_SESSION_TOKEN")}
	creds := credentials.NewStaticV4(secrets[0], secrets[1], secrets[2])
	if secrets[0] == "" {
		// ~/.aws/credentials, or what AWS_SHARED_CREDENTIALS_FILE names
		creds = credentials.NewFileAWSCredentials("", "")
	}
	if v, err := creds.GetWithContext(nil); err != nil || v.AccessKeyID == "" {
		return nil, fmt.Errorf("mirror: no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write "+
			"~/.aws/credentials (%w)", cmp.Or(err, errors.New("the key is empty")))
	}
	c, err := minio.New(u.Host, &minio.Options{Creds: creds, Secure: u.Scheme == "https", MaxRetries: 3,
		Region: cmp.Or(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"))})
	if err != nil {
		return nil, fmt.Errorf("mirror: %w", err)
	}
	return &bucket{c, name, prefix, secrets}, nil
}

func (b *bucket) key(name string) string { return b.prefix + "/" + name }

// fail says what could not be done, without secrets.
func (b *bucket) fail(what, name string, err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, s := range b.secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "…")
		}
	}
	cause := errors.New(text)
	switch code := minio.ToErrorResponse(err).Code; {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s %s: %w", what, name, fs.ErrNotExist)
	case code == minio.NoSuchKey:
		return fmt.Errorf("%s %s/%s: %w", what, b, name, fs.ErrNotExist)
	}
	return fmt.Errorf("%s %s/%s: %w", what, b, name, cause)
}

// list returns all objects and their sizes.
func (b *bucket) list(ctx context.Context) (map[string]int64, error) {
	there := map[string]int64{}
	for o := range b.client.ListObjects(ctx, b.name,
		minio.ListObjectsOptions{Prefix: b.prefix + "/", Recursive: true}) {
		if o.Err != nil {
			return nil, b.fail("list", "", o.Err)
		}
		there[strings.TrimPrefix(o.Key, b.prefix+"/")] = o.Size
	}
	return there, nil
}

// put writes the first bytes of r, reads them back, and returns their hash.
func (b *bucket) put(ctx context.Context, name string, r io.Reader, size int64) (hash [32]byte, err error) {
	h := sha256.New()
	// No hash of chunks within the body: what is read back says more, and not every server takes them out again.
	_, err = b.client.PutObject(ctx, b.name, b.key(name), io.TeeReader(io.LimitReader(r, size), h), size,
		minio.PutObjectOptions{DisableContentSha256: true, NumThreads: 1})
	if err != nil {
		return hash, b.fail("write", name, err)
	}
	h.Sum(hash[:0])
	same, err := b.holds(ctx, name, hash)
	if err == nil && !same {
		err = fmt.Errorf("%s/%s differs from what was written", b, name)
	}
	return hash, err
}

// holds reports whether an object has a hash.
func (b *bucket) holds(ctx context.Context, name string, hash [32]byte) (bool, error) {
	r, err := b.get(ctx, name)
	if err != nil {
		return false, err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return false, b.fail("read", name, err)
	}
	return [32]byte(h.Sum(nil)) == hash, nil
}

// get opens an object. An error that matches fs.ErrNotExist means that there is none.
func (b *bucket) get(ctx context.Context, name string) (io.ReadCloser, error) {
	o, err := b.client.GetObject(ctx, b.name, b.key(name), minio.GetObjectOptions{})
	if err == nil {
		if _, err = o.Stat(); err == nil {
			return o, nil
		}
	}
	return nil, b.fail("read", name, err)
}

func (b *bucket) remove(ctx context.Context, name string) error {
	return b.fail("remove", name, b.client.RemoveObject(ctx, b.name, b.key(name), minio.RemoveObjectOptions{}))
}
