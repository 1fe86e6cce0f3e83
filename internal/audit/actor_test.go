package audit

import "testing"

// TestActorIsTheCIJob checks the URL of the job, both for a CI system that sets it in one variable
// and for one that sets only its parts.
func TestActorIsTheCIJob(t *testing.T) {
	for name, c := range map[string]struct {
		env  map[string]string
		want Actor
	}{
		"no CI system": {nil, Actor{User: "root", Host: "node"}},
		"GitHub": {map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "octo", "GITHUB_SHA": "aa", "GITHUB_SERVER_URL": "https://github.com",
			"GITHUB_REPOSITORY": "example/app", "GITHUB_RUN_ID": "7"},
			Actor{User: "root", Host: "node", CI: "github-actions", Login: "octo", Commit: "aa", Job: "https://github.com/example/app/actions/runs/7"}},
		"GitHub without a run": {map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": "https://github.com"},
			Actor{User: "root", Host: "node", CI: "github-actions"}},
		"GitLab": {map[string]string{"GITLAB_CI": "true", "CI_JOB_URL": "https://gitlab.example/j/1", "GITLAB_USER_LOGIN": "dev", "CI_COMMIT_SHA": "bb"},
			Actor{User: "root", Host: "node", CI: "gitlab-ci", Login: "dev", Commit: "bb", Job: "https://gitlab.example/j/1"}},
	} {
		if got := NewActor("root", "node", func(name string) string { return c.env[name] }); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
