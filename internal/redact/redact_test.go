package redact

import "testing"

// TestTextHasNoSecret checks that Text removes credentials in URLs and the given secrets, and
// nothing else.
func TestTextHasNoSecret(t *testing.T) {
	for in, want := range map[string]string{
		"nothing to hide":                                       "nothing to hide",
		"https://user:pass@registry.example/v2/":                "https://***@registry.example/v2/",
		"https://storage.example/blob?X-Amz-Signature=1 failed": "https://storage.example/blob?*** failed",
		"registry.example/app:1":                                "registry.example/app:1",
		"login with hunter2-hunter2 refused":                    "login with *** refused",
		"a short secret such as abc stays":                      "a short secret such as abc stays",
	} {
		if got := Text(in, "hunter2-hunter2", "abc", ""); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestIsSecret checks that keys, tokens and documents count as secrets, and that file names and
// image references do not.
func TestIsSecret(t *testing.T) {
	for value, want := range map[string]bool{
		"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----":   true,
		"ghp_abcdefghijklmnopqrstuvwxyz":                   true,
		"{\"auths\":{}}":                                   true,
		"line one\nline two":                               true,
		"policy.yaml":                                      false,
		"json=report.json":                                 false,
		"registry.example/team/app@sha256:" + hexDigits:    false,
		"/builds/TeamA/ReleasePipeline2026/StagingPolicyX": false,
	} {
		if got := IsSecret(value); got != want {
			t.Errorf("IsSecret(%.40q) = %v", value, got)
		}
	}
}

const hexDigits = "7761b8ae9d5c07cb529b9a0909be84fca0b510deec14284ba3577a4deeaa067a"
