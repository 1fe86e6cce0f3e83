package audit

import "strings"

// ciSystem lists the environment variables that a CI system sets for the user, the job and the
// commit. url is set if the URL of the job has to be built from several variables.
type ciSystem struct {
	mark, name         string
	login, job, commit string
	url                func(getenv func(string) string) string
}

// ciSystems are the supported CI systems, with the variables that their documentation defines.
var ciSystems = []ciSystem{
	{mark: "GITHUB_ACTIONS", name: "github-actions", login: "GITHUB_ACTOR", commit: "GITHUB_SHA", url: func(getenv func(string) string) string {
		return join(getenv("GITHUB_SERVER_URL"), getenv("GITHUB_REPOSITORY"), "actions/runs", getenv("GITHUB_RUN_ID"))
	}},
	{mark: "GITLAB_CI", name: "gitlab-ci", login: "GITLAB_USER_LOGIN", job: "CI_JOB_URL", commit: "CI_COMMIT_SHA"},
	{mark: "JENKINS_URL", name: "jenkins", login: "BUILD_USER_ID", job: "BUILD_URL", commit: "GIT_COMMIT"},
	{mark: "TF_BUILD", name: "azure-pipelines", login: "BUILD_REQUESTEDFOR", commit: "BUILD_SOURCEVERSION", url: func(getenv func(string) string) string {
		return join(getenv("SYSTEM_COLLECTIONURI"), getenv("SYSTEM_TEAMPROJECT"), "_build/results?buildId="+getenv("BUILD_BUILDID"))
	}},
	{mark: "CIRCLECI", name: "circleci", login: "CIRCLE_USERNAME", job: "CIRCLE_BUILD_URL", commit: "CIRCLE_SHA1"},
	{mark: "BUILDKITE", name: "buildkite", login: "BUILDKITE_BUILD_CREATOR", job: "BUILDKITE_BUILD_URL", commit: "BUILDKITE_COMMIT"},
}

// NewActor returns who runs imagegate: the user and host given by the caller, and the CI job from
// the variables that getenv returns.
func NewActor(user, host string, getenv func(string) string) Actor {
	actor := Actor{User: user, Host: host}
	for _, ci := range ciSystems {
		if getenv(ci.mark) == "" {
			continue
		}
		actor.CI, actor.Login, actor.Commit = ci.name, getenv(ci.login), getenv(ci.commit)
		if actor.Job = getenv(ci.job); ci.url != nil {
			actor.Job = ci.url(getenv)
		}
		break
	}
	return actor
}

// join joins the parts of a URL with slashes. It returns "" if a part is empty.
func join(parts ...string) string {
	for i, part := range parts {
		if part == "" {
			return ""
		}
		parts[i] = strings.TrimSuffix(part, "/")
	}
	return strings.Join(parts, "/")
}
