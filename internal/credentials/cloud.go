package credentials

import (
	"io"
	"slices"
	"strings"

	ecr "github.com/awslabs/amazon-ecr-credential-helper/ecr-login"
	acr "github.com/chrismellard/docker-credential-acr-env/pkg/credhelper"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/authn/github"
	"github.com/google/go-containerregistry/pkg/v1/google"
)

// cloud is a keychain that gets registry tokens from the environment of a cloud. The keychain is
// used only if serves(host) is true. The clouds' own libraries check the host too loosely: for
// example, the library for ACR accepts ".azurecr.io" anywhere in a host.
type cloud struct {
	serves   func(host string) bool
	keychain authn.Keychain
}

func clouds() []cloud {
	return []cloud{
		{isGoogle, google.Keychain},
		{isGitHub, github.Keychain},
		{isAmazon, authn.NewKeychainFromHelper(ecr.NewECRHelper(ecr.WithLogger(io.Discard)))},
		{isAzure, authn.NewKeychainFromHelper(acr.NewACRCredentialsHelper())},
	}
}

// cloudHost returns the host of a registry, and whether the host may belong to a cloud. Only a
// lower-case DNS name without a port or with port 443 may belong to a cloud.
func cloudHost(registry string) (string, bool) {
	host := strings.TrimSuffix(registry, ":443")
	labels := strings.Split(host, ".")
	return host, !slices.ContainsFunc(labels, func(label string) bool { return !isLabel(label) })
}

func isLabel(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" && s[0] != '-' && s[len(s)-1] != '-'
}

// below reports whether host is exactly one label below one of the domains.
func below(host string, domains ...string) bool {
	label, domain, ok := strings.Cut(host, ".")
	return ok && label != "" && slices.Contains(domains, domain)
}

func isGoogle(host string) bool { return host == "gcr.io" || below(host, "gcr.io", "pkg.dev") }

func isGitHub(host string) bool { return host == "ghcr.io" }

// isAzure reports whether a host is a registry in one of Azure's clouds:
// https://learn.microsoft.com/azure/azure-government/compare-azure-government-global-azure
func isAzure(host string) bool {
	return below(host, "azurecr.io", "azurecr.cn", "azurecr.us", "azurecr.de")
}

// amazonDomains are the domains of the AWS partitions, for hosts of the form
// ACCOUNT.dkr.ecr.REGION.DOMAIN. dualStack are the domains for hosts of the form
// ACCOUNT.dkr-ecr.REGION.DOMAIN.
var (
	amazonDomains = []string{"amazonaws.com", "amazonaws.com.cn", "amazonaws.eu", "sc2s.sgov.gov", "c2s.ic.gov", "cloud.adc-e.uk", "csp.hci.ic.gov"}
	dualStack     = []string{"on.aws", "on.amazonwebservices.com.cn"}
)

func isAmazon(host string) bool {
	if host == "public.ecr.aws" || host == "ecr-public.aws.com" {
		return true
	}
	account, rest, _ := strings.Cut(host, ".")
	if len(account) != 12 || strings.Trim(account, "0123456789") != "" {
		return false
	}
	for _, service := range []string{"dkr.ecr.", "dkr.ecr-fips."} {
		if name, ok := strings.CutPrefix(rest, service); ok {
			return below(name, amazonDomains...)
		}
	}
	for _, service := range []string{"dkr-ecr.", "dkr-ecr-fips."} {
		if name, ok := strings.CutPrefix(rest, service); ok {
			return below(name, dualStack...)
		}
	}
	return false
}
