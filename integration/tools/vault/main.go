// Command vault is an unsealed Vault server in memory with only the transit engine. Tests use it
// instead of "vault server -dev". It prints its address and its root token, each on its own line,
// and serves until its standard input ends.
//
// The command has its own Go module, so that imagegate does not depend on Vault.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/builtin/logical/transit"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	logger := hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Warn})
	storage, err := inmem.NewInmem(nil, logger)
	if err != nil {
		return err
	}
	core, err := vault.NewCore(&vault.CoreConfig{Physical: storage, Logger: logger, DisableMlock: true,
		LogicalBackends: map[string]logical.Factory{"transit": transit.Factory}, BuiltinRegistry: noPlugins{}})
	if err != nil {
		return err
	}
	keys, err := core.Initialize(ctx, &vault.InitParams{BarrierConfig: &vault.SealConfig{SecretShares: 1, SecretThreshold: 1}})
	if err != nil {
		return fmt.Errorf("initializing: %w", err)
	}
	if open, err := core.Unseal(keys.SecretShares[0]); err != nil || !open {
		return fmt.Errorf("unsealing: %w", errors.Join(err, errors.New("the server is still sealed")))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	handler := vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core, ListenerConfig: &configutil.Listener{}})
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	if err := mount(ctx, "http://"+listener.Addr().String(), keys.RootToken); err != nil {
		return err
	}
	fmt.Printf("http://%s\n%s\n", listener.Addr(), keys.RootToken)
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, server.Close(), core.Shutdown())
}

// mount enables the transit engine at its default path.
func mount(ctx context.Context, address, token string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address+"/v1/sys/mounts/transit", strings.NewReader(`{"type":"transit"}`))
	if err != nil {
		return err
	}
	request.Header.Set("X-Vault-Token", token)
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		answer, err := io.ReadAll(resp.Body)
		return errors.Join(fmt.Errorf("mounting the transit engine: %s: %s", resp.Status, answer), err)
	}
	return nil
}

// noPlugins is an empty plugin registry. No plugins are needed, because the transit engine is built
// in.
type noPlugins struct{}

func (noPlugins) Contains(name string, kind consts.PluginType) bool { return false }

func (noPlugins) Get(name string, kind consts.PluginType) (func() (any, error), bool) {
	return nil, false
}

func (noPlugins) Keys(consts.PluginType) []string { return nil }

func (noPlugins) DeprecationStatus(string, consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Unknown, false
}

func (noPlugins) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }
