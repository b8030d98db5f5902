// Loads an export as a server written in C++ does, and asks `serving_default` for one user.
//
//   probe [--op-library FILE]... [--text TEXT] [--history ID]... VERSION_FOLDER
//
// The op libraries are loaded first, in the order given, then the model with the tag "serve". The
// ids come on stdout, best first, one a line; an empty line is a place that no item is left for.
// Newlines and backslashes inside an id are written as \n, \r and \\. What failed goes to stderr.
// Exit codes: 0 answered, 1 failed, 2 wrong usage. Build it with `make probe`.

#include <cstdint>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/c/c_api.h"
#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/public/session.h"
#include "tensorflow/core/public/session_options.h"

namespace {

constexpr char kSignature[] = "serving_default";

struct Arguments {
  std::vector<std::string> op_libraries;
  std::vector<std::string> history;
  std::string text;
  std::string version_folder;
};

int Fail(const std::string& what) {
  std::cerr << what << std::endl;
  return 1;
}

bool Parse(int argc, char** argv, Arguments* arguments) {
  int position = 1;
  for (; position + 1 < argc; position += 2) {
    const std::string option = argv[position];
    const std::string value = argv[position + 1];
    if (option == "--op-library") {
      arguments->op_libraries.push_back(value);
    } else if (option == "--history") {
      arguments->history.push_back(value);
    } else if (option == "--text") {
      arguments->text = value;
    } else {
      return false;
    }
  }
  if (position != argc - 1) return false;
  arguments->version_folder = argv[position];
  return true;
}

// Returns whether every op library could be loaded; says which could not.
bool LoadOpLibraries(const std::vector<std::string>& files) {
  for (const std::string& file : files) {
    TF_Status* status = TF_NewStatus();
    TF_LoadLibrary(file.c_str(), status);
    const bool is_loaded = TF_GetCode(status) == TF_OK;
    if (!is_loaded) {
      std::cerr << "The op library " << file << " cannot be loaded: " << TF_Message(status)
                << std::endl;
    }
    TF_DeleteStatus(status);
    if (!is_loaded) return false;
  }
  return true;
}

std::string Escaped(const std::string& id) {
  std::string line;
  for (const char character : id) {
    switch (character) {
      case '\n': line += "\\n"; break;
      case '\r': line += "\\r"; break;
      case '\\': line += "\\\\"; break;
      default: line += character;
    }
  }
  return line;
}

}  // namespace

int main(int argc, char** argv) {
  using tensorflow::Tensor;

  Arguments arguments;
  if (!Parse(argc, argv, &arguments)) {
    std::cerr << "Usage: probe [--op-library FILE]... [--text TEXT] [--history ID]... "
                 "VERSION_FOLDER"
              << std::endl;
    return 2;
  }
  if (!LoadOpLibraries(arguments.op_libraries)) return 1;

  tensorflow::SavedModelBundleLite model;
  const auto loaded = tensorflow::LoadSavedModel(
      tensorflow::SessionOptions(), tensorflow::RunOptions(), arguments.version_folder, {"serve"},
      &model);
  if (!loaded.ok()) return Fail("The model cannot be loaded: " + loaded.ToString());

  const auto& signatures = model.GetSignatures();
  const auto found = signatures.find(kSignature);
  if (found == signatures.end()) return Fail("The model has no signature serving_default.");
  const auto& inputs = found->second.inputs();
  const auto& outputs = found->second.outputs();
  if (!inputs.contains("user_text") || !inputs.contains("history") ||
      !outputs.contains("item_ids")) {
    return Fail("serving_default does not take user_text and history and give item_ids.");
  }

  Tensor text(tensorflow::DT_STRING, tensorflow::TensorShape({1}));
  text.vec<tensorflow::tstring>()(0) = arguments.text;
  const int64_t width = static_cast<int64_t>(arguments.history.size());
  Tensor history(tensorflow::DT_STRING, tensorflow::TensorShape({1, width}));
  for (int64_t place = 0; place < width; ++place) {
    history.matrix<tensorflow::tstring>()(0, place) = arguments.history[place];
  }

  std::vector<Tensor> answer;
  const auto run = model.GetSession()->Run(
      {{inputs.at("user_text").name(), text}, {inputs.at("history").name(), history}},
      {outputs.at("item_ids").name()}, {}, &answer);
  if (!run.ok()) return Fail("The model does not answer: " + run.ToString());

  const auto ids = answer[0].matrix<tensorflow::tstring>();
  for (int64_t place = 0; place < answer[0].dim_size(1); ++place) {
    std::cout << Escaped(std::string(ids(0, place))) << '\n';
  }
  std::cout.flush();
  return 0;
}
