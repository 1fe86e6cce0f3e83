package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagegate/imagegate/internal/registry"
)

// access checks one repository with the login of the user.
type access struct {
	Options
	side   registry.Side
	repo   name.Repository
	login  authn.AuthConfig
	client *http.Client
	// accepted means that the registry accepted the login. The login may still lack access rights.
	accepted bool
}

// registryCheck returns the check that the login can read the image and, for an approved registry,
// write to its repository.
func (o Options) registryCheck(side registry.Side, ref name.Reference) Check {
	return Check{Name: "registry " + string(side), Stuck: askCommand(ref.Context().Registry), Run: func(ctx context.Context) Result {
		a := &access{Options: o, side: side, repo: ref.Context()}
		reading, writing := "read "+ref.Name(), "write to "+a.repo.Name()
		if err := a.enter(ctx); err != nil {
			return a.refused(reading, err)
		}
		err := a.read(ctx, ref)
		missing := statusOf(err) == http.StatusNotFound
		if err != nil && !missing {
			return a.refused(reading, err)
		}
		if side == registry.Approved {
			if err := a.write(ctx); err != nil {
				return a.refused(writing, err)
			}
			return ok("%s may %s", a.who(), writing)
		}
		if missing {
			return a.absent(ref)
		}
		return ok("%s may %s", a.who(), reading)
	}}
}

// enter logs in to the registry, and gets a token if the registry needs one. It returns an error if
// the registry does not accept the login.
func (a *access) enter(ctx context.Context) error {
	auth, err := authn.Resolve(ctx, a.Keychain, a.repo)
	if err != nil {
		return err
	}
	resolved, err := authn.Authorization(ctx, auth)
	if err != nil {
		return err
	}
	a.login = *resolved
	scope := a.repo.Scope(transport.PullScope)
	if a.side == registry.Approved {
		scope = a.repo.Scope(transport.PushScope)
	}
	next := transport.NewUserAgent(registry.Transport(a.Transport), a.UserAgent)
	authorized, err := transport.NewWithContext(ctx, a.repo.Registry, auth, next, []string{scope})
	if err != nil {
		return err
	}
	a.client = &http.Client{Transport: authorized, CheckRedirect: onlyReads}
	if _, err := a.do(ctx, http.MethodGet, a.address("/v2/"), http.StatusOK); err != nil {
		return err
	}
	a.accepted = true
	return nil
}

// onlyReads follows redirects of GET and HEAD requests, as the registry client does. A redirect of
// a write is refused, so that a registry cannot send the write to another server.
func onlyReads(req *http.Request, via []*http.Request) error {
	const most = 10
	if len(via) >= most {
		return fmt.Errorf("stopped after %d redirects", most)
	}
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		return http.ErrUseLastResponse
	}
	return nil
}

// read reads a manifest, first with HEAD, because some registries do not count HEAD as a pull. If
// HEAD fails, it uses GET, because only that response has a body with the reason.
func (a *access) read(ctx context.Context, ref name.Reference) error {
	address := a.address("/v2/" + a.repo.RepositoryStr() + "/manifests/" + ref.Identifier())
	if _, err := a.do(ctx, http.MethodHead, address, http.StatusOK); err == nil {
		return nil
	}
	_, err := a.do(ctx, http.MethodGet, address, http.StatusOK)
	return err
}

// cancelLimit is the time limit for canceling a test upload. The upload is also canceled after the
// check's time limit or an interruption, so cancelLimit is shorter than patience.
const cancelLimit = patience * 3 / 4

// write starts an upload and cancels it. That is the only proof of write access, because some token
// servers give a token to everyone. If the upload cannot be canceled, it expires in the registry.
func (a *access) write(ctx context.Context) error {
	at, err := a.do(ctx, http.MethodPost, a.address("/v2/"+a.repo.RepositoryStr()+"/blobs/uploads/"), http.StatusAccepted, http.StatusCreated)
	if err != nil {
		return err
	}
	if at != nil && at.Host == a.repo.RegistryStr() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelLimit)
		defer cancel()
		_, _ = a.do(ctx, http.MethodDelete, at.String(), http.StatusNoContent)
	}
	return nil
}

func (a *access) address(path string) string {
	return (&url.URL{Scheme: a.repo.Scheme(), Host: a.repo.RegistryStr(), Path: path}).String()
}

// accepts is the Accept header: the media types of manifests.
var accepts = strings.Join([]string{string(types.OCIImageIndex), string(types.OCIManifestSchema1), string(types.DockerManifestList),
	string(types.DockerManifestSchema2), "*/*"}, ", ")

// do sends a request, and returns an error for a status that is not in want. It returns the
// Location header of the response, or nil if there is none.
func (a *access) do(ctx context.Context, method, address string, want ...int) (location *url.URL, err error) {
	req, err := http.NewRequestWithContext(ctx, method, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accepts)
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := transport.CheckError(resp, want...); err != nil {
		return nil, err
	}
	location, err = resp.Location()
	if errors.Is(err, http.ErrNoLocation) {
		return nil, nil
	}
	return location, err
}

// statusOf returns the HTTP status of the registry's response, or 0 if err does not come from a
// response.
func statusOf(err error) int {
	var failed *transport.Error
	if !errors.As(err, &failed) {
		return 0
	}
	return failed.StatusCode
}

// unreachable returns the result for a server that does not respond like a registry. It shortens
// the error, because the client tries HTTPS and HTTP and joins two long texts.
func (a *access) unreachable(err error) Result {
	r := failed(err, a.mendConnection(err))
	if why := disconnected(err); why != "" && r.Mend == askCommand(a.repo.Registry) {
		r.Message = fmt.Sprintf("%s cannot be reached: %s", a.repo.RegistryStr(), why)
	}
	return r
}

// disconnected returns the reason of a failed connection, such as "connection refused". It returns
// "" if the server responded.
func disconnected(err error) string {
	var (
		unknown *net.DNSError
		number  syscall.Errno
	)
	switch {
	case statusOf(err) != 0:
		return ""
	case errors.As(err, &unknown):
		return unknown.Err
	case errors.As(err, &number):
		return number.Error()
	}
	return ""
}

func (a *access) mendConnection(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		noTLS   tls.RecordHeaderError
		refused *registry.PlainHTTPError
		network *net.OpError
	)
	host := a.repo.RegistryStr()
	switch {
	case statusOf(err) != 0: // the error may also have the cause of a first attempt with TLS
		return askCommand(a.repo.Registry)
	case errors.As(err, &refused):
		return "export IMAGEGATE_INSECURE_REGISTRY=" + quote(refused.Host)
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &noTLS), strings.Contains(err.Error(), http.ErrSchemeMismatch.Error()):
		return "export IMAGEGATE_INSECURE_REGISTRY=" + quote(host)
	case errors.As(err, &unknown):
		return "export SSL_CERT_FILE=ca.pem"
	case errors.As(err, &network) && network.Op == "proxyconnect":
		return "export NO_PROXY=" + quote(host)
	}
	return askCommand(a.repo.Registry)
}

// askCommand returns the curl command that shows the response of a registry.
func askCommand(r name.Registry) string {
	return "curl -v " + quote(r.Scheme()+"://"+r.RegistryStr()+"/v2/")
}
