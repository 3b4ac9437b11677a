//! What the pages say, in both languages, side by side.

use crate::kernel::access::Needs;

/// A language of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    English,
    Chinese,
}

impl Language {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "en" => Some(Self::English),
            "zh" => Some(Self::Chinese),
            _ => None,
        }
    }

    /// The first language of an `Accept-Language` header that we have.
    pub(super) fn preferred(header: &str) -> Self {
        let mut tags = header.split(',').map(str::trim);
        let known = tags.find_map(|tag| Self::parse(tag.get(..2)?));
        known.unwrap_or(Self::English)
    }

    pub(super) fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh",
        }
    }

    pub(super) fn words(self) -> &'static Words {
        match self {
            Self::English => &ENGLISH,
            Self::Chinese => &CHINESE,
        }
    }
}

/// Every text of the pages.
pub(super) struct Words {
    pub(super) lang: &'static str,
    pub(super) other_lang: &'static str,
    pub(super) other_name: &'static str,
    pub(super) tagline: &'static str,
    pub(super) sign_in: &'static str,
    pub(super) sign_out: &'static str,
    pub(super) username: &'static str,
    pub(super) password: &'static str,
    pub(super) wrong: &'static str,
    pub(super) wait: &'static str,
    pub(super) no_account: &'static str,
    pub(super) overview: &'static str,
    pub(super) nothing: &'static str,
    pub(super) api: &'static str,
    pub(super) api_intro: &'static str,
    pub(super) description: &'static str,
    pub(super) needs: &'static str,
    pub(super) parameters: &'static str,
    pub(super) body: &'static str,
    pub(super) required: &'static str,
    pub(super) optional: &'static str,
    pub(super) send: &'static str,
    pub(super) token: &'static str,
    pub(super) token_hint: &'static str,
    chinese: bool,
}

impl Words {
    /// What a module is, and what to try when it is empty.
    pub(super) fn module(&self, name: &str) -> (&'static str, &'static str) {
        let (english, chinese, hint) = match name {
            "fiche" => (
                "Cards: what exists, in every revision",
                "卡片：记录一切对象及其全部版本",
                "dripctl fiche save",
            ),
            "cask" => ("Artifacts and packages", "制品与算法包", "dripctl cask put"),
            "trajectory" => ("Logs", "日志", "dripctl trajectory push"),
            "liquid" => {
                ("Pipelines, runs and schedules", "流水线、运行与调度", "dripctl liquid apply")
            }
            "atom" => {
                ("Datasets and feature operators", "数据集与特征算子", "dripctl atom dataset put")
            }
            "dashare" => (
                "Data channels, quotas and usage",
                "数据通道、配额与用量",
                "dripctl dashare channel put",
            ),
            "system" => ("The daemon itself", "服务本身", "dripctl status"),
            _ => ("Accounts and tokens", "账号与令牌", "dripctl token create"),
        };
        (if self.chinese { chinese } else { english }, hint)
    }

    /// What a caller needs.
    pub(super) fn needs_of(&self, needs: Needs) -> String {
        if !self.chinese {
            return needs.to_string();
        }
        match needs {
            Needs::Public => "无".to_owned(),
            Needs::SignedIn => "登录或有效令牌".to_owned(),
            Needs::Granted(module) => format!("授权，以及令牌范围 {module}:read"),
            Needs::Read(module) => format!("角色 viewer，以及令牌范围 {module}:read"),
            Needs::Write(module) => format!("角色 publisher，以及令牌范围 {module}:write"),
            Needs::Admin(module) => format!("角色 admin，以及令牌范围 {module}:write"),
        }
    }

    /// What a value of this type of JSON schema is.
    pub(super) fn kind(&self, name: &str) -> &'static str {
        let (english, chinese) = match name {
            "string" => ("text", "文本"),
            "integer" => ("whole number", "整数"),
            "number" => ("number", "数字"),
            "boolean" => ("true or false", "布尔值"),
            "array" => ("list", "列表"),
            "object" => ("object", "对象"),
            _ => ("any JSON", "任意 JSON"),
        };
        if self.chinese { chinese } else { english }
    }

    /// The name of what is counted.
    pub(super) fn noun<'a>(&self, noun: &'a str) -> &'a str {
        if !self.chinese {
            return noun;
        }
        match noun {
            "cards" => "卡片",
            "algorithm" => "算法",
            "model" => "模型",
            "parameter" => "参数",
            "application" => "应用",
            "dataset" | "datasets" => "数据集",
            "buckets" => "存储桶",
            "objects" => "对象",
            "packages" => "算法包",
            "records" => "日志条数",
            "streams" => "日志流",
            "pipelines" => "流水线",
            "runs" => "运行",
            "schedules" => "调度",
            "operators" => "算子",
            "channels" => "通道",
            "users" => "账号",
            "tokens" => "令牌",
            other => other,
        }
    }
}

static ENGLISH: Words = Words {
    lang: "en",
    other_lang: "zh",
    other_name: "中文",
    tagline: "An algorithm's whole life on one machine",
    sign_in: "Sign in",
    sign_out: "Sign out",
    username: "Name",
    password: "Password",
    wrong: "The name or the password is wrong.",
    wait: "Too many failed sign-ins. Please wait a little.",
    no_account: "There is no account yet. Stop the daemon and run `dripctl create-admin`.",
    overview: "What there is",
    nothing: "Nothing yet. Try",
    api: "The API",
    api_intro: "Every call of this daemon, generated from the table that builds it. Sign in, or paste a token, to try one here.",
    description: "OpenAPI description",
    needs: "Needs",
    parameters: "Parameters",
    body: "Body",
    required: "required",
    optional: "optional",
    send: "Send",
    token: "Token",
    token_hint: "drip_… (empty: your sign-in)",
    chinese: false,
};

static CHINESE: Words = Words {
    lang: "zh",
    other_lang: "en",
    other_name: "English",
    tagline: "一台机器，承载算法的一生",
    sign_in: "登录",
    sign_out: "退出",
    username: "用户名",
    password: "密码",
    wrong: "用户名或密码不正确。",
    wait: "登录失败次数过多，请稍候再试。",
    no_account: "还没有账号。请先停止服务，再运行 `dripctl create-admin` 创建管理员。",
    overview: "总览",
    nothing: "暂无内容，可以试试",
    api: "接口",
    api_intro: "这里列出本服务的全部接口，由路由表自动生成。登录或填入令牌后，即可在本页直接调用。",
    description: "OpenAPI 描述文件",
    needs: "所需权限",
    parameters: "参数",
    body: "请求体",
    required: "必填",
    optional: "可选",
    send: "发送",
    token: "令牌",
    token_hint: "drip_…（留空则使用当前登录）",
    chinese: true,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browsers_first_known_language_is_taken() {
        assert_eq!(Language::preferred("fr-FR,zh-CN;q=0.9,en;q=0.8"), Language::Chinese);
        assert_eq!(Language::preferred("en-GB"), Language::English);
        assert_eq!(Language::preferred(""), Language::English);
    }
}
