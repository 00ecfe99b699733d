"""The scripts of tab completion, one per shell; each calls ``limbeck completion --line LINE``."""

_BASH = r"""
# Tab completion of limbeck in bash: put  eval "$(limbeck completion bash)"  into ~/.bashrc
_limbeck() {
    local line=${COMP_LINE:0:COMP_POINT}
    local word=${line##*[[:space:]]}
    mapfile -t COMPREPLY < <("${COMP_WORDS[0]}" completion --line "$line" 2>/dev/null)
    if [[ $word == [^\'\"]*=* && $COMP_WORDBREAKS == *=* ]]; then  # unless quoted, only what follows = is the word
        COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*=}"}"}")
    fi
    if [[ ${#COMPREPLY[@]} -gt 0 && ${COMPREPLY[0]} == *[=.] ]]; then
        compopt -o nospace
    fi
}
complete -o default -F _limbeck limbeck
"""

_ZSH = r"""
#compdef limbeck
# Tab completion of limbeck in zsh: put  eval "$(limbeck completion zsh)"  into ~/.zshrc, behind compinit
_limbeck() {
    local -a found whole begun
    found=("${(@f)$("${words[1]}" completion --line "${(j: :)words[1,CURRENT-1]} $PREFIX" 2>/dev/null)}")
    whole=("${(@)found:#*[=.]}") begun=("${(@M)found:#*[=.]}")
    if [[ -n "${found[*]}" ]]; then
        compadd -Q -S '' -- "${(@)begun:#}"
        compadd -Q -- "${(@)whole:#}"
    else
        compset -P '*='
        _files
    fi
}
if [[ "${funcstack[1]}" == _limbeck ]]; then _limbeck; else compdef _limbeck limbeck; fi
"""

_FISH = r"""
# Tab completion of limbeck in fish: limbeck completion fish > ~/.config/fish/completions/limbeck.fish
function __limbeck_complete
    set -l typed (commandline --cut-at-cursor --current-process | string collect)
    set -l command (commandline --tokenize --current-process)[1]
    set -l found ($command completion --line "$typed" 2>/dev/null)
    if test -n "$found"
        printf '%s\n' $found
    else
        set -l word (commandline --cut-at-cursor --current-token)
        set -l key (string match --regex '^[^=]*=' -- $word)
        for path in (__fish_complete_path (string replace --regex '^[^=]*=' '' -- $word))
            echo "$key$path"
        end
    end
end
complete --command limbeck --no-files --arguments '(__limbeck_complete)'
"""

SHELLS = {"bash": _BASH.lstrip(), "zsh": _ZSH.lstrip(), "fish": _FISH.lstrip()}
